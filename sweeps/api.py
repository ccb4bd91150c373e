"""`run` and `sweep`: what is on disk is not computed again, what is missing is; the whole comes back as one labelled result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .contract.experiment import Experiment, find
from .contract.functions import as_module, from_file
from .contract.request import Plan, make_plan
from .contract.sources import source_digest
from .engine.executor import Settings, enable_compilation_cache
from .engine.leftovers import remove_leftovers
from .engine.progress import Progress
from .engine.queue import Queue
from .errors import EveryCellFailed, UsageError, on_stderr
from .results import states, store
from .results.failures import Failure, forget_failures, recorded_failures
from .results.loading import PASSES, load_plan, say_stale
from .results.merge import assemble
from .results.notes import note_request, tasks_of
from .results.stock import Stock, take_stock

if TYPE_CHECKING:
    import xarray

RESULTS = "results"
ENGINE_DECIDES = Settings()
Experimental = str | ModuleType | Callable[..., Any]  # a name, a module that follows the contract, or simulate(key, config)


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
    plan = request(experiment, config, None, False, seeds, root_seed, results, predict)
    forget_failures(plan)
    failed: dict[int, Failure] = {}
    tree = _complete(plan, refresh, settings, progress, say, failed)
    if tree is None or failed:
        raise failed[0].error or UsageError(f"{plan.experiment.name}: {failed[0].line}")
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
    plan = request(experiment, config, over, zipped, seeds, root_seed, results, predict)
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
    failed: dict[int, Failure] = {}
    note_request(plan)
    if retry_failed:
        forget_failures(plan)
    tree = _complete(plan, refresh, settings, progress, say, failed)
    for line in failure_lines(plan, failed):
        say(line)
    if tree is None:
        raise EveryCellFailed(f"{plan.experiment.name}: every cell failed; the first: {failed[min(failed)].line}", len(failed))
    return tree, failed


def load(
    experiment: Experimental,
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
    fields (`load(..).state.params.w`).
    """
    plan = request(experiment, config, over, zipped, None, root_seed, results, predict)
    tree = load_plan(plan, say)
    if tree is not None and (trained := store.provenance(tree).get("trained")):
        states.attach(tree, plan.home, [trained.get(cell.name) for cell in plan.cells], plan.shape, say)
    return tree


def request(
    experiment: Experimental,
    config: Any,
    over: Mapping[str, Iterable[Any]] | None,
    zipped: bool,
    seeds: int | Iterable[int] | None,
    root_seed: int,
    results: str | Path,
    predict: Callable[[Any], Any] | None,
) -> Plan:
    """The plan of what was asked, every value checked."""
    found, config = resolve(experiment, config, predict)
    return make_plan(found, config, over, zipped, seeds, root_seed, Path(results).absolute(), source_digest(found.module))


def resolve(
    experiment: Experimental, config: Any = None, predict: Callable[[Any], Any] | None = None
) -> tuple[Experiment, Any]:
    """The experiment that was named, and the config for it (None: the experiment's own)."""
    target = from_file(experiment) if isinstance(experiment, str) and ".py" in experiment else experiment
    if isinstance(target, str | ModuleType):
        if predict is not None:
            raise UsageError("predict: only for a function; an experiment's prediction stands in its module")
        return find(target), config
    module, config = as_module(target, config, predict)
    return find(module), config


def _complete(
    plan: Plan,
    refresh: bool,
    settings: Settings,
    progress: bool,
    say: Callable[[str], None],
    failed: dict[int, Failure],
) -> xarray.DataTree | None:
    """Compute what is missing, then read it all; `failed` receives the cells that raised. None if there is nothing at all."""
    settings.checked()
    remove_leftovers(plan.home)
    for _ in range(PASSES):
        stock = take_stock(plan)
        for message in stock.messages:
            say(message)
        failed |= failures(plan, stock, refresh, say)
        if any(source is None and index not in failed for index, source in enumerate(stock.sources(plan, refresh))):
            work(plan, stock, refresh, tasks_of(plan), settings, progress, say, failed, wait=True)
            stock = take_stock(plan)
        sources = stock.sources(plan, refresh)
        # what a failed cell has of its seeds is shown, the others are NaN
        shown = [plan.digest if source is None and index in failed else source for index, source in enumerate(sources)]
        if any(source is None for source in shown):
            continue  # a file has gone or was damaged in the meantime
        tree, damaged = assemble(plan, stock, shown, failed)
        for message in damaged:
            say(message)
        if not damaged:
            say_stale(plan, stock, sources, say)
            return tree
    raise UsageError(f"{plan.home}: files vanish or are damaged again and again; is something else at work in this folder?")


def work(
    plan: Plan,
    stock: Stock,
    refresh: bool,
    tasks: int,
    settings: Settings,
    progress: bool,
    say: Callable[[str], None],
    failed: dict[int, Failure],
    wait: bool,
    started: Callable[[Queue], None] = lambda job: None,
) -> None:
    """Compute what a plan lacks, as one of `tasks` processes; `failed` receives the cells that raised, now or before."""
    store.check_writable(plan.folder)
    enable_compilation_cache()
    missing = [source is None for source in stock.sources(plan, refresh)]
    job = Queue(plan, stock, missing, failed, tasks, say)
    started(job)
    if plan.axes and job.total:
        say(f"{plan.experiment.name}: {describe(plan)}, {len(job.groups)} compilation{'s' if len(job.groups) != 1 else ''}")
    with Progress(plan.experiment.name, job.total, progress) as shown:
        job.run(settings, shown, wait)


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
    return [file.path for file in take_stock(plan).files if file.digest == plan.digest]


def failures(
    plan: Plan, stock: Stock | None = None, refresh: bool = False, say: Callable[[str], None] | None = None
) -> dict[int, Failure]:
    """The cells of a plan that have raised and have not been computed since."""
    known = recorded_failures(plan.home, plan.digest, say)
    sources = (stock or take_stock(plan)).sources(plan, refresh) if known else []
    return {
        index: known[plan.cells[index].name]
        for index, source in enumerate(sources)
        if source is None and plan.cells[index].name in known
    }
