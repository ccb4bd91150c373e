"""What was asked, checked: the cells of a grid, the seeds, and the folder of the results.

A *cell* is one point of the grid, a *run* one seed of a cell. All of it is a pure function of the request, so that every
process that is given the same request, today or after a crash, here or on another machine, finds the same cells.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ...contract import plain
from .. import memory
from ..errors import UsageError, shown
from . import config as config_
from .config import hashed
from .experiment import ENGINE_FIELDS, Experiment, checked, find, from_module, names
from .given import takes_config
from .names import is_file, kept_as, parts

RESULTS = "results"
# a name, a Python file, a module that follows the contract, an experiment that was read, or simulate(key, config)
Experimental = str | ModuleType | Experiment | Callable[..., Any]


class Request(NamedTuple):
    """What is asked, as it was given."""

    experiment: Experimental
    config: Any = None  # None: the experiment's own; an instance of its Config, or {field: value} to change in it
    over: Mapping[str, Iterable[Any]] | None = None  # the grid
    zipped: bool = False  # the fields of the grid are swept together, not as a product
    seeds: int | Iterable[int] | None = None  # how many, or which; None: the experiment's own number
    root_seed: int = 0
    results: str | Path = RESULTS  # folder
    predict: Callable[[Any], Any] | None = None  # of a function

    def plan(self) -> Plan:
        """Its cells and seeds, checked. Raises `UsageError` naming the field, what was given and what is allowed."""
        from .precision import check_platforms, wants_float64  # JAX, which what is stored is read without

        check_platforms()
        experiment, config = resolve(self.experiment, self.config, self.predict)
        root_seed = plain(self.root_seed)
        if not isinstance(root_seed, int) or isinstance(root_seed, bool) or not 0 <= root_seed < 2**32:
            raise UsageError(f"root_seed: got {root_seed}; allowed: 0 to 2**32 - 1")
        if config is None or isinstance(config, Mapping):
            config = config_.replace(config_.default(experiment.Config), config or {})
        if not isinstance(config, experiment.Config):
            allowed = f"an instance of {experiment.name}'s Config, or {{field: value}}"
            raise UsageError(f"config: got {shown(config)}; allowed: {allowed}")
        config = config_.validate(config)
        axes = {path: _axis(path, values, self.zipped) for path, values in (self.over or {}).items()}
        lengths = {path: len(values) for path, values in axes.items()}
        if self.zipped and len(set(lengths.values())) > 1:
            got = ", ".join(f"{path}: {length}" for path, length in lengths.items())
            raise UsageError(f"paired fields need lists of one length; got {got}")
        fields = {**experiment.fields, **experiment.curves}
        taken = {"seed", "step", "cell", "point", *ENGINE_FIELDS, *fields}
        if both := sorted((taken | {axis for field in fields.values() for axis in field.axes}) & set(axes)):
            raise UsageError(f"{both[0]}: is also the name of a result or an axis of {experiment.name}; rename the field")
        zipped = self.zipped and bool(axes)
        cells = []
        for point in points(axes, zipped):
            one = config_.replace(config, point)
            if not wants_float64(one):
                config_.check_float32(one)
            values = config_.as_dict(one)
            name = cell_name(experiment.name, root_seed, values)
            cells.append(Cell({path: values[path] for path in axes}, one, name))
        if len({cell.name for cell in cells}) < len(cells):
            allowed = "distinct values (1 and 1.0 are one)"
            raise UsageError(f"{', '.join(axes)}: two cells of the grid are the same; allowed: {allowed}")
        for index, path in enumerate(axes):  # as the config keeps them: an int given for a float is a float
            length = math.prod(() if zipped else list(lengths.values())[index + 1 :])
            axes[path] = tuple(cells[i * length].at[path] for i in range(lengths[path]))
        seeds, folder = _seeds(experiment, self.seeds, len(cells)), Path(self.results).absolute()
        return Plan(experiment, cells, seeds, root_seed, axes, zipped, folder)


class Alone(str):
    """The file and name of a function that was given as an object: what stands beside it does not go with it."""


def resolve(
    experiment: Experimental, config: Any = None, predict: Callable[[Any], Any] | None = None
) -> tuple[Experiment, Any]:
    """The experiment that was named, and the config for it (None: the experiment's own).

    What stands beside a function that was named by its file goes with it: `config` or a dataclass `Config`, `predict`, and
    GRID, CURVE, SEEDS and TOLERANCE as in a module.
    """
    from .functions import as_experiment, from_file

    if isinstance(experiment, Experiment):
        return experiment, config_.default(experiment.Config) if config is None and experiment.plain else config
    by_name, target, beside = isinstance(experiment, str), experiment, {}
    if isinstance(experiment, str) and is_file(experiment):
        target, (file, function) = from_file(experiment), parts(experiment)
        beside = vars(from_file(file)) if function and not isinstance(experiment, Alone) else {}
    if isinstance(target, str | ModuleType):
        if predict is not None:
            raise UsageError("predict: only for a function; an experiment's prediction stands in its module")
        if isinstance(target, str) or target is experiment:
            return find(target), config
        return _of_the_user(from_module(target, kept_as(target), asked_by_name=True)), config
    if config is None and takes_config(target, ("key",)):
        config = beside.get("config", beside.get("Config") if dataclasses.is_dataclass(beside.get("Config")) else None)
    predict = beside.get("predict") if predict is None and target is not beside.get("predict") else predict
    found, config = as_experiment(target, config, predict, asked_by_name=by_name)
    grid = {field: tuple(values) for field, values in beside.get("GRID", {}).items()}
    found = found._replace(grid=grid, dense=beside.get("CURVE", {}), seeds=beside.get("SEEDS", found.seeds))
    return _of_the_user(checked(found._replace(tolerance={**found.tolerance, **beside.get("TOLERANCE", {})}))), config


def _of_the_user(found: Experiment) -> Experiment:
    """The experiment, unless its results would be kept as those of an experiment of this package."""
    if found.name in names():
        raise UsageError(f"experiment: {found.name} is one of this package; allowed: another name of the file or the function")
    return found


class Cell(NamedTuple):
    """One point of a grid."""

    at: dict[str, Any]  # values of the swept fields
    config: Any
    name: str  # 16 hexadecimal digits: a hash of experiment, root seed and whole config


class Version(NamedTuple):
    """What the results of a cell are named by: digests of its simulation and of its prediction ("" without any)."""

    simulation: str = ""
    prediction: str = ""


class Plan(NamedTuple):
    """A request, checked: `cells` in the order of the grid, last axis fastest."""

    experiment: Experiment
    cells: list[Cell]
    seeds: list[int]
    root_seed: int
    axes: dict[str, tuple]  # the swept fields; empty for a single cell
    zipped: bool  # the fields are swept together, not as a product
    folder: Path  # of the results
    sources: str = ""  # a digest of the files that define the experiment, as information
    groups: Sequence[Any] = ()  # of cells that share their programs (groups.Group)
    versions: Sequence[Version] = ()  # of each cell, as the code is now; empty where it raised
    broken: Mapping[int, Exception] = {}  # the cells whose code raised when it was asked or traced

    @property
    def shape(self) -> tuple[int, ...]:
        lengths = tuple(len(values) for values in self.axes.values())
        return lengths[:1] if self.zipped else lengths

    @property
    def home(self) -> Path:
        """Where everything of this experiment is kept."""
        return self.folder / self.experiment.name


def _axis(path: str, values: Iterable[Any], zipped: bool) -> tuple:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise UsageError(f"{path}: got {shown(values)}; allowed: a list of values")
    listed = tuple(map(plain, values))  # each entry is checked against the field's type with the configs
    keys = [json.dumps(value, default=repr) for value in listed]
    if not listed or (not zipped and len(set(keys)) < len(keys)):
        raise UsageError(f"{path}: got {shown(values)}; allowed: one or more distinct values")
    return listed


def points(axes: Mapping[str, Sequence[Any]], zipped: bool) -> Iterator[dict[str, Any]]:
    """The points of a grid: the product of the axes, or the axes side by side."""
    if not axes:
        yield {}
        return
    for values in zip(*axes.values(), strict=True) if zipped else itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def cells_asked(asked: Mapping[str, Any]) -> list[Cell]:
    """The cells of a request that was noted (see results/notes.py), of its plain values alone: without their configs."""
    name, root_seed, base = asked["experiment"], asked["root_seed"], asked["config"]
    grid = points(asked["over"], asked["zipped"])
    return [Cell(point, None, cell_name(name, root_seed, {**base, **point})) for point in grid]


def cell_name(experiment: str, root_seed: int, values: Mapping[str, Any]) -> str:
    """The name of a cell: a hash of experiment, root seed and all values of its config."""
    return hashed([experiment, root_seed, values])


_RUN_BYTES = 100  # that it takes to keep account of a run, and to store a number of it
_SMALL = 1 << 28  # bytes that any machine has


def _seeds(experiment: Experiment, seeds: int | Iterable[int] | None, cells: int) -> list[int]:
    seeds = plain(seeds)
    count = seeds if isinstance(seeds, int) else len(seeds) if isinstance(seeds, Sized) else 0
    needed = count * cells * _RUN_BYTES
    if needed > _SMALL and needed > (free := memory.free_bytes()):
        raise UsageError(
            f"seeds: got {shown(seeds)}, which take at least {memory.text(needed)} of memory in {cells} "
            f"cell{'' if cells == 1 else 's'}; {memory.text(free)} can be used; allowed: fewer"
        )
    if isinstance(seeds, bool | str) or not (seeds is None or isinstance(seeds, int | Iterable)):
        chosen = []
    else:
        chosen = (
            list(range(seeds))
            if isinstance(seeds, int)
            else list(range(experiment.seeds) if seeds is None else map(plain, seeds))
        )
    valid = all(isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**32 for seed in chosen)
    if not chosen or not valid or len(set(chosen)) < len(chosen):
        raise UsageError(
            f"seeds: got {shown(seeds)}; allowed: a number from 1 on, or distinct whole numbers from 0 to 2**32 - 1"
        )
    return chosen
