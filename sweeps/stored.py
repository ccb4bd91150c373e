"""Everything that a results folder holds, as labelled results: read from its files, with the experiments that can be found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from . import store
from .digest import source_digest
from .errors import UsageError
from .experiment import ENGINE_FIELDS, Experiment, Field, find, names
from .plan import Plan, cells_asked
from .runner import load_plan
from .status import SweepStatus, sweeps_of

if TYPE_CHECKING:
    import xarray


class Stored(NamedTuple):
    """One result as it was asked for."""

    experiment: Experiment  # of a function or a file of the user's: what its result shows of it
    asked: dict[str, Any]  # experiment, config, over, zipped, seeds, root_seed, digest
    result: xarray.DataTree | None  # over the seeds that all cells have; None if there are none
    failed: Mapping[str, int]  # {error: cells}
    stale: bool  # computed by an earlier version of the code

    @property
    def known(self) -> bool:
        """Whether the experiment is one of this package."""
        return self.experiment.name in names()


def stored_results(results: Path, experiment: str | None = None) -> Iterator[Stored]:
    """Every sweep of a results folder, then every single run that belongs to none; or those of an experiment (or paper).

    A result without a module (a function of the user's) is compared without an allowance, as it was when it was computed.
    """
    covered: set[str] = set()
    requests: dict[str, SweepStatus] = {}  # that differ in more than seeds: of one sweep all seeds are shown
    for sweep in sweeps_of(results, experiment):
        _check_home(results, sweep.path.parent.parent, sweep.asked["experiment"])
        same = {key: value for key, value in sweep.asked.items() if key not in ("seeds", "digest", "tasks")}
        requests[json.dumps(same)] = sweep
    for sweep in requests.values():
        plan = _plan(results, sweep.asked)
        covered |= {cell.name for cell in plan.cells}
        yield _stored(plan, sweep.asked, Counter(cell.why for cell in sweep.cells if cell.state == "failed"))
    for asked in _single_runs(results, experiment, covered):
        yield _stored(_plan(results, asked), asked, {})


def _check_home(results: Path, home: Path, name: str) -> None:
    """Raise `UsageError` if results of an experiment do not lie where a results folder has them."""
    if home.relative_to(results).as_posix() != name:
        raise UsageError(
            f"results: {home} holds results of {name}; allowed: the folder that --results named when they were made"
        )


def _plan(results: Path, asked: dict[str, Any]) -> Plan:
    """The plan of a request, made of its plain values: no experiment is imported, no value is checked again."""
    name, axes = asked["experiment"], {path: tuple(map(_plain, values)) for path, values in asked["over"].items()}
    nobody = Experiment(name, ModuleType(name), {}, dynamics=False, drawn=False, conditional=False)
    folder = results.absolute()
    return Plan(nobody, cells_asked(asked), asked["seeds"], asked["root_seed"], axes, asked["zipped"], folder, asked["digest"])


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def _single_runs(results: Path, experiment: str | None, covered: set[str]) -> Iterator[dict[str, Any]]:
    """What was asked by every run of one cell that is no part of a sweep; of one cell's sources the last that ran."""
    newest: dict[str, tuple[float, dict[str, Any]]] = {}
    for path in store.files_below(results, "[0-9a-f][0-9a-f]/*.nc"):
        header, _ = store.header(path, aside=False)
        if header is None or path.parent.parent.name == "blocks" or header.cells[0] in covered:
            continue
        tree, _ = store.read_tree(path)
        said = {} if tree is None else store.provenance(tree)
        name = said.get("experiment", "")
        if tree is not None:
            _check_home(results, path.parent.parent, name)
        if experiment not in (None, name, name.split("/")[0]):
            continue
        asked = {key: said[key] for key in ("experiment", "config", "root_seed", "digest") if key in said}
        asked |= {"over": {}, "zipped": False, "seeds": header.seeds}
        when = path.stat().st_mtime
        if tree is not None and when > newest.get(header.cells[0], (0.0, {}))[0]:
            newest[header.cells[0]] = when, asked
    found = sorted(
        (asked for _, asked in newest.values()), key=lambda asked: (asked["experiment"], json.dumps(asked["config"]))
    )
    yield from found


def _stored(plan: Plan, asked: dict[str, Any], failed: Mapping[str, int]) -> Stored:
    result = load_plan(plan, say=lambda message: None)
    experiment, stale = plan.experiment, False
    if experiment.name in names():
        experiment = find(experiment.name)
        stale = result is not None and store.provenance(result)["digest"] != source_digest(experiment.module)
    if result is not None and (stale or not experiment.fields):
        experiment = experiment._replace(fields=_fields(result, set(plan.axes)))
    if result is not None:
        asked = {**asked, "seeds": store.group(result, "simulation")["seed"].values.tolist()}
    return Stored(experiment, asked, result, failed, stale)


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
