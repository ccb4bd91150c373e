"""`run` and `sweep`: what is on disk is not computed again, what is missing is; the whole comes back as one labelled result."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .contract.precision import check_environment
from .contract.request import RESULTS, Experimental, Plan, Request
from .engine import provenance
from .engine.batches import Settings
from .engine.executor import enable_compilation_cache
from .engine.leftovers import remove_leftovers
from .engine.predictions import block_of
from .engine.progress import Progress
from .engine.queue import Queue
from .errors import EveryCellFailed, UsageError, on_stderr
from .results import states, store
from .results.failures import Failure, forget_failures, record_broken, recorded_failures
from .results.identities import confirmed, identified
from .results.loading import PASSES, load_plan, read_whole
from .results.merge import merged
from .results.notes import note_request, tasks_of
from .results.single import open_file
from .results.stock import Stock, take_stock

if TYPE_CHECKING:
    import xarray

ENGINE_DECIDES = Settings()


def run(
    experiment: Experimental,
    config: Any = None,
    *,
    seeds: int | Iterable[int] | None = None,
    root_seed: int = 0,
    results: str | Path = RESULTS,
    refresh: bool = False,
    settings: Settings = ENGINE_DECIDES,
    predict: Callable[[Any], Any] | None = None,
    progress: bool = True,
    say: Callable[[str], None] = on_stderr,
) -> xarray.DataTree:
    """Simulate and predict at one config over seeds; returns the labelled result and keeps it on disk.

    `sweep` over a single cell: the arguments are explained there. A cell that raised before is tried again, and what it raises
    is raised here.
    """
    with _folder(results, settings) as folder:
        plan = ask(Request(experiment, config, None, False, seeds, root_seed, folder, predict), settings.keep)
        note_request(plan, folder="runs")
        forget_failures(plan)
        tree, failed = complete(plan, refresh, settings, progress, say)
    if tree is None or failed:
        raise failed[0].error or EveryCellFailed(f"{plan.experiment.name}: {failed[0].line}", 1)
    return tree


def sweep(
    experiment: Experimental,
    config: Any = None,
    *,
    over: Mapping[str, Iterable[Any]] | None = None,
    zipped: bool = False,
    seeds: int | Iterable[int] | None = None,
    root_seed: int = 0,
    results: str | Path = RESULTS,
    refresh: bool = False,
    retry_failed: bool = False,
    settings: Settings = ENGINE_DECIDES,
    predict: Callable[[Any], Any] | None = None,
    progress: bool = True,
    say: Callable[[str], None] = on_stderr,
) -> xarray.DataTree:
    """Simulate and predict over a grid and over seeds; returns one labelled result and keeps it on disk.

    A sweep that was interrupted, killed, or is asked for again with more values or seeds computes only what is missing, and
    gives the numbers of an uninterrupted run. Several processes may work on one sweep: each takes what is free.

    Args:
        experiment: a name (`xor/phases`), a module that follows the experiment contract, a Python file with one
            (`my_paper.py`), or any function `simulate(key, config)` of a JAX key and a config that returns an array, a dict
            or a NamedTuple of arrays.
        config: an instance of the experiment's `Config`, or `{field: value}` to change in the default one. For a function:
            any dataclass of plain values, or a dict of them, as the function takes it.
        over: grid, `{field: values}`, nested fields with dots; without `zipped` their product. Floats share one compiled
            program; each value of an int, a bool or a text is compiled.
        zipped: walk the lists of `over` side by side, as pairs; the axis is called `point`.
        seeds: how many (0, 1, ...), or which; the experiment's own number by default. More seeds later leave the first as
            they are.
        root_seed: seed i uses `fold_in(key(root_seed), i)`.
        results: folder that keeps the results.
        refresh: compute again what was computed by an earlier version of the code (never mixed with new results).
        retry_failed: run cells again that raised before.
        settings: how to execute; on a CPU changes no number, but for `batching="vmap"`, which changes roundings.
        predict: for a function: its prediction, `predict(config)`, with the names that it returns.
        progress: show a progress bar on standard error.
        say: receives one-line messages.

    Returns:
        `DataTree` with groups `simulation` and `prediction` (and `prediction_<rival>`): axes are the swept fields, `seed`,
        `step` and those named in `Result`. `simulation` also has `diverged`, True for a seed with a value that is not
        finite, and `failed`, True for a cell that raised: its values are NaN, its error is in `closedform status`.

    Raises:
        UsageError: before anything compiles, for an unknown or invalid field, value or folder; or if every cell failed.
    """
    with _folder(results, settings) as folder:
        plan = ask(Request(experiment, config, over, zipped, seeds, root_seed, folder, predict), settings.keep)
        return sweep_plan(plan, refresh, retry_failed, settings, progress, say)[0]


def sweep_plan(
    plan: Plan,
    refresh: bool,
    retry_failed: bool,
    settings: Settings,
    progress: bool = True,
    say: Callable[[str], None] = on_stderr,
) -> tuple[xarray.DataTree, dict[int, Failure]]:
    """`sweep` of a request that is checked already; also returns the cells that failed."""
    note_request(plan)
    if retry_failed:
        forget_failures(plan)
    tree, failed = complete(plan, refresh, settings, progress, say)
    for line in failure_lines(plan, failed):
        say(line)
    if tree is None:
        raise EveryCellFailed(f"{plan.experiment.name}: every cell failed; the first: {failed[min(failed)].line}", len(failed))
    return tree, failed


def load(
    experiment: Experimental | Path,
    config: Any = None,
    *,
    over: Mapping[str, Iterable[Any]] | None = None,
    zipped: bool = False,
    root_seed: int = 0,
    results: str | Path = RESULTS,
    predict: Callable[[Any], Any] | None = None,
    say: Callable[[str], None] = on_stderr,
) -> xarray.DataTree | None:
    """The stored result over the seeds that all cells have, computing nothing; None if a cell is missing that did not fail.

    For an experiment that trains it has a further group `state`: the trained state of each run, with the names of the state's
    fields (`load(..).state.params.w`). In place of an experiment it may be one stored file (`load("results/a/b/12/127e.nc")`),
    which is then what that file holds, with the prediction and the trained states that stand beside it.
    """
    if isinstance(experiment, Path) or (isinstance(experiment, str) and experiment.endswith(".nc")):
        if config is not None or over is not None or predict is not None:
            raise UsageError(f"{experiment}: a file says itself what it holds; allowed: load(file) alone")
        return open_file(Path(experiment), say)
    plan = ask(Request(experiment, config, over, zipped, None, root_seed, results, predict))
    tree = load_plan(plan, say)
    if tree is not None and (trained := store.provenance(tree).get("trained")):
        states.attach(tree, plan.home, [trained.get(cell.name) for cell in plan.cells], plan.shape, say)
    return tree


def predict(
    experiment: Experimental,
    config: Any = None,
    *,
    over: Mapping[str, Iterable[Any]] | None = None,
    zipped: bool = False,
) -> xarray.DataTree:
    """Theory alone over a grid: the predictions of `sweep` at as many values as wanted; nothing is simulated or stored.

    Raises `UsageError` where nothing is predicted, or where the prediction depends on the draw or on a trained network.
    """
    asked = Request(experiment, config, over, zipped, seeds=1).plan()
    name = asked.experiment.name
    if not asked.experiment.predictions:
        raise UsageError(f"{name}: has no prediction")
    if asked.experiment.conditional:
        raise UsageError(f"{name}: its prediction depends on the draw or the trained network of each run; use sweep")
    plan = identified(asked, keep=False)
    if plan.broken:
        raise plan.broken[min(plan.broken)]
    pieces = [(block_of(plan, group), list(range(len(group.cells))), group.cells) for group in plan.groups]
    swept = ["point"] if plan.zipped else list(plan.axes)
    return merged(plan, pieces, (), provenance.new(plan, plan.cells[0].config, 0.0) | {"swept": swept})


def ask(request: Request, keep: bool = True) -> Plan:
    """The plan of what is asked: every value checked, and by what its results are named."""
    return identified(request.plan(), keep)


def complete(
    plan: Plan,
    refresh: bool,
    settings: Settings,
    progress: bool,
    say: Callable[[str], None],
    wait: bool = True,
    started: Callable[[Queue], None] = lambda queue: None,
) -> tuple[xarray.DataTree | None, dict[int, Failure]]:
    """Compute what is missing, then read it all; also returns the cells that raised, now or before.

    The result is None if there is nothing at all or, without `wait`, if other processes are still at work.
    """
    settings = settings.checked()
    remove_leftovers(plan.home)
    record_broken(plan)
    failed: dict[int, Failure] = {}
    for attempt in range(PASSES):
        stock = take_stock(plan)
        for message in stock.messages:
            say(message)
        failed |= failures(plan, stock, refresh, say)
        shown = stock.versions(plan, refresh)
        missing = [version is None and cell not in failed for cell, version in enumerate(shown)]
        if progress and not attempt and not failed and not any(missing):
            say(f"{plan.experiment.name}: all of it is stored, nothing is computed anew")
        if any(missing):
            if not confirmed(plan, missing):
                plan = identified(plan, settings.keep)
                continue
            store.check_writable(plan.folder)
            check_environment()
            enable_compilation_cache()
            queue = Queue(plan, stock, missing, failed, tasks_of(plan), say)
            started(queue)
            for line in _announced(plan, queue):
                say(line)
            unit = "seed-steps" if plan.experiment.stepped else "runs"
            with Progress(plan.experiment.name, queue.total, progress, unit) as bar:
                queue.run(settings, bar, wait)
            stock = take_stock(plan)
            failed |= failures(plan, stock, refresh)  # those of other processes too
            shown = stock.versions(plan, refresh)
        if any(version is None and cell not in failed for cell, version in enumerate(shown)):
            if not wait:
                return None, failed
            continue  # a file has gone or was damaged in the meantime
        tree, whole = read_whole(plan, stock, shown, failed, say)  # what a failed cell has of its seeds is shown
        if whole:
            return tree, failed
    raise UsageError(f"{plan.home}: files vanish or are damaged again and again; is something else at work in this folder?")


def _announced(plan: Plan, queue: Queue) -> Iterator[str]:
    """What there is to say before anything is computed."""
    name = plan.experiment.name
    if plan.axes and queue.total:
        yield f"{name}: {describe(plan)}, {len(queue.groups)} compilation{'s' if len(queue.groups) != 1 else ''}"
    if len(plan.seeds) > 1 and any(group.identity.seedless for group in queue.groups if group.identity):
        yield f"{name}: no number depends on the key, so all seeds give the same"


def describe(plan: Plan) -> str:
    """What was asked, in words: 12 cells (dim 3 x rate 4) x 8 seeds."""
    sizes = " x ".join(f"{path} {len(values)}" for path, values in plan.axes.items())
    cells = f"{len(plan.cells)} cells ({'paired: ' if plan.zipped else ''}{sizes})" if plan.axes else "1 cell"
    return f"{cells} x {len(plan.seeds)} seed{'s' if len(plan.seeds) > 1 else ''}"


def failure_lines(plan: Plan, failed: Mapping[int, Failure]) -> list[str]:
    """How many cells failed, and the first of each kind."""
    if not failed:
        return []
    kinds: dict[str, list[int]] = {}
    for index in sorted(failed):
        kinds.setdefault(failed[index].line, []).append(index)
    lines = [f"{plan.experiment.name}: {len(failed)} of {len(plan.cells)} cells failed; --retry-failed runs them again"]
    for line, cells in list(kinds.items())[:5]:
        at = ", ".join(f"{path}={value}" for path, value in plan.cells[cells[0]].at.items())
        lines.append(f"  {at or 'the cell'}{f' and {len(cells) - 1} more' if len(cells) > 1 else ''}: {line}")
    return lines


def files(plan: Plan) -> list[Path]:
    """Where the results of a plan are kept."""
    own = {
        (cell.name, kind, digest)
        for cell, version in zip(plan.cells, plan.versions, strict=True)
        for kind, digest in version._asdict().items()
    }
    return [file.path for file in take_stock(plan).files if any((cell, file.kind, file.digest) in own for cell in file.cells)]


def failures(plan: Plan, stock: Stock, refresh: bool = False, say: Callable[[str], None] | None = None) -> dict[int, Failure]:
    """The cells of a plan that have raised and have not been computed since. With `say`, damaged records are told."""
    known = recorded_failures(plan, say)
    shown = stock.versions(plan, refresh) if known else []
    return {index: failure for index, failure in known.items() if shown[index] is None}


@contextlib.contextmanager
def _folder(results: str | Path, settings: Settings) -> Iterator[str | Path]:
    """Where results are kept; for a run that keeps nothing a folder that goes with it."""
    if settings.keep:
        yield results
        return
    with tempfile.TemporaryDirectory(prefix="closedform-") as folder:
        yield folder
