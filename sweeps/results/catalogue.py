"""What a results folder holds, from its files: how far each sweep is, and every result that can be shown."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..contract import config as config_
from ..contract.experiment import ENGINE_FIELDS, Experiment, Field, find, names
from ..contract.request import Plan, Request, cells_asked
from ..errors import UsageError, on_stderr, plain
from . import locks, sealed, store
from .failures import Failure, all_failures, failed_under
from .notes import versions_asked
from .stock import there

if TYPE_CHECKING:
    import xarray


class CellStatus(NamedTuple):
    """One cell of a sweep."""

    at: dict[str, Any]  # values of the swept fields
    state: str  # "done", "running", "failed", "waiting" (or "partly": waiting, with some seeds done)
    seeds: int  # that are done
    where: str  # "host (process 123)" for a running one
    why: str  # the error of a failed one


class SweepStatus(NamedTuple):
    """One sweep: what was asked, and each of its cells."""

    path: Path  # of its manifest
    asked: dict[str, Any]
    cells: list[CellStatus]

    def counts(self) -> dict[str, int]:
        """{state: cells}, every state named."""
        states = [cell.state for cell in self.cells]
        return {state: states.count(state) for state in ("done", "running", "partly", "waiting", "failed")}


def sweeps_of(results: Path, experiment: str | None = None, say: Callable[[str], None] = on_stderr) -> Iterator[SweepStatus]:
    """Every sweep of a results folder, or those of an experiment (or paper); then single runs that none of them holds."""
    sweeps = list(_requests(results, "sweeps", experiment, say))
    yield from sweeps
    runs = list(_requests(results, "runs", experiment, say))
    covered = {cell.name for sweep in sweeps for cell in cells_asked(sweep.asked)} if runs else set()
    for run in sorted(runs, key=lambda one: (one.asked["experiment"], json.dumps(one.asked["config"]))):
        if cells_asked(run.asked)[0].name not in covered:
            yield run


def _requests(results: Path, folder: str, experiment: str | None, say: Callable[[str], None]) -> Iterator[SweepStatus]:
    """All that was asked, in the order of the files."""
    for path in store.files_below(results, f"{folder}/*.json"):
        name = path.parent.parent.relative_to(results).as_posix()
        if _is_of(name, experiment):
            try:
                yield _status(path)
            except FileNotFoundError:  # removed while we look
                continue
            except (sealed.Damaged, KeyError, TypeError) as error:  # damaged, of another version, or none of ours
                why = str(error) if isinstance(error, sealed.Damaged) else f"{type(error).__name__}: {error}"
                say(f"{path} says of no sweep what was asked ({why}); the same command again notes it")
            except (UsageError, OSError) as error:
                say(str(error) if isinstance(error, UsageError) else f"{path}: cannot be read ({error.strerror})")


def _is_of(name: str, experiment: str | None) -> bool:
    """Whether results of that name are of an experiment, or of a paper or a file that has several; of any, for None."""
    return experiment is None or name == experiment or name.startswith(f"{experiment}/")


def _status(path: Path) -> SweepStatus:
    asked, home = sealed.read_json(path), path.parent.parent
    grid, seeds = cells_asked(asked), asked["seeds"]
    versions = versions_asked(asked, len(grid))
    done = there(store.headers(home, [cell.name for cell in grid], aside=False)[0], grid, seeds, versions).all(axis=0)
    running, failed = _running(home), all_failures(home)
    cells = []
    for cell, count, version in zip(grid, done.sum(axis=1).tolist(), versions, strict=True):
        digest, failure = failed.get(cell.name, ("", None))
        mine = failure if digest == failed_under(version) else None
        cells.append(_cell(cell.at, count, len(seeds), running.get(cell.name), mine))
    return SweepStatus(path, asked, cells)


def _cell(point: dict[str, Any], done: int, seeds: int, where: str | None, failure: Failure | None) -> CellStatus:
    if done == seeds:
        return CellStatus(point, "done", done, "", "")
    if where is not None:
        return CellStatus(point, "running", done, where, "")
    if failure is not None:
        return CellStatus(point, "failed", done, "", failure.line)
    return CellStatus(point, "partly" if done else "waiting", done, "", "")


def _running(home: Path) -> dict[str, str]:
    """The cells that some process holds, and which."""
    held = ((path, locks.holder(path)) for path in sorted((home / "locks").glob("*")))
    named = ((f"{said['host']} (process {said['pid']})", said.get("cells", [])) for _, said in held if said)
    return dict(itertools.chain.from_iterable(((cell, where) for cell in cells) for where, cells in named))


_CELLS_SHOWN = 40  # of a sweep; a larger one is summed up


def status_lines(sweep: SweepStatus) -> list[str]:
    """What was asked, how far it is, and its cells that are not done; of a large sweep those that run or failed."""
    asked, counts = sweep.asked, sweep.counts()
    swept = ", ".join(f"{path} ({len(values)})" for path, values in asked["over"].items()) or "one cell"
    seeds = len(asked["seeds"])
    said = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    left = sum(seeds - cell.seeds for cell in sweep.cells if cell.state != "failed")
    lines = [f"{asked['experiment']} over {swept}, {seeds} seeds: {said}; {left} of {seeds * len(sweep.cells)} runs left"]
    small = len(sweep.cells) <= _CELLS_SHOWN
    shown = [cell for cell in sweep.cells if cell.state in ("running", "failed") or (small and cell.state != "done")]
    for cell in shown[:_CELLS_SHOWN]:
        at = ", ".join(f"{path}={value}" for path, value in cell.at.items()) or "the cell"
        detail = cell.where or cell.why or (f"{cell.seeds} of {seeds} seeds" if cell.state == "partly" else "")
        lines.append(f"  {at}: {cell.state}{', ' if detail else ''}{detail}")
    if len(shown) > _CELLS_SHOWN:
        lines.append(f"  and {len(shown) - _CELLS_SHOWN} more")
    if (whole := sweep.path.with_suffix(".nc")).exists():
        lines.append(f"  whole: {whole}")
    return [plain(line) for line in lines]


State = Literal["current", "stale", "not checked"]  # by what the code computes now; of a user's own code that is not known


class Stored(NamedTuple):
    """One result as it was asked for."""

    experiment: Experiment  # of a function or a file of the user's: what its result shows of it
    asked: dict[str, Any]  # experiment, config, over, zipped, seeds, root_seed, digests
    result: xarray.DataTree | None  # over the seeds that all cells have; None if there are none
    failed: Mapping[str, int]  # {error: cells}
    state: State

    @property
    def known(self) -> bool:
        """Whether the experiment is one of this package."""
        return self.experiment.name in names()


def stored_results(results: Path, experiment: str | None = None) -> Iterator[Stored]:
    """What `sweeps_of` names, with its result.

    A result without a module (a function of the user's) is compared without an allowance, as it was when it was computed.
    """
    requests: dict[str, SweepStatus] = {}  # that differ in more than seeds: of one sweep all seeds are shown
    for sweep in sweeps_of(results, experiment):
        _check_home(results, sweep.path.parent.parent, sweep.asked["experiment"])
        same = {key: value for key, value in sweep.asked.items() if key not in ("seeds", "digests", "files", "tasks")}
        requests[json.dumps(same)] = sweep
    for sweep in requests.values():
        failed = Counter(cell.why for cell in sweep.cells if cell.state == "failed")
        yield _stored(_plan(results, sweep.asked), sweep.asked, failed)


def _check_home(results: Path, home: Path, name: str) -> None:
    """Raise `UsageError` if results of an experiment do not lie where a results folder has them."""
    if home.relative_to(results).as_posix() != name:
        raise UsageError(
            f"results: {home} holds results of {name}; allowed: the folder that --results named when they were made"
        )


def _plan(results: Path, asked: dict[str, Any]) -> Plan:
    """The plan of a request, made of its plain values: no experiment is imported, no value is checked again."""
    name, axes = asked["experiment"], {path: tuple(map(_plain, values)) for path, values in asked["over"].items()}
    cells = cells_asked(asked)
    seeds, root_seed, versions = asked["seeds"], asked["root_seed"], versions_asked(asked, len(cells))
    return Plan(Experiment(name), cells, seeds, root_seed, axes, asked["zipped"], results.absolute(), versions=versions)


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def _stored(plan: Plan, asked: dict[str, Any], failed: Mapping[str, int]) -> Stored:
    from .agreement import is_stale
    from .loading import load_plan

    result = load_plan(plan, say=lambda message: None)
    experiment, state = plan.experiment, "not checked"
    if experiment.name in names():
        experiment = find(experiment.name)
        now = result is None or (not is_stale(result) and _is_current(experiment, plan, asked))
        state = "current" if now else "stale"
    if result is not None and (state == "stale" or not experiment.fields):
        experiment = experiment._replace(fields=_fields(result, set(plan.axes)))
    if result is not None:
        asked = {**asked, "seeds": store.group(result, "simulation")["seed"].values.tolist()}
    return Stored(experiment, asked, result, failed, state)


def _is_current(experiment: Experiment, plan: Plan, asked: dict[str, Any]) -> bool:
    """Whether the code as it is now computes what was stored."""
    from .identities import identified

    try:
        config = config_.build(experiment.Config, asked["config"])
        now = Request(experiment, config, plan.axes, plan.zipped, plan.seeds, plan.root_seed, plan.folder).plan()
        return identified(now).versions == plan.versions
    except (UsageError, KeyError, TypeError, ValueError):  # the request is none any more
        return False


def _fields(result: xarray.DataTree, swept: set[str]) -> dict[str, Field]:
    """What a result says of the fields of the experiment that made it."""
    predicted = store.group(result, "prediction") if "prediction" in result.children else {}
    return {
        str(name): Field(
            tuple(str(axis) for axis in array.dims if axis not in {*swept, "seed", "step", "point"}), name in predicted
        )
        for name, array in store.group(result, "simulation").data_vars.items()
        if name not in ENGINE_FIELDS
    }
