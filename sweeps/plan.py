"""What a sweep consists of, before anything runs: cells, the groups that share a program, and the parts that share a file.

A *cell* is one point of the grid, a *run* one seed of a cell. Cells whose configs differ in traced floats alone form a
*group*: one set of compiled programs serves them. A group's runs are cut into *parts*: the unit that one process claims, that
is checkpointed together and that ends as one file. All of it is a pure function of the request, so that every process that is
given the same request, today or after a crash, here or on another machine, finds the same parts.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import config as config_
from .errors import UsageError
from .experiment import ENGINE_FIELDS, Experiment, check, labels_of, last_step, recorded_steps
from .programs import precision, wants_float64
from .traced import program_digest

FILES = 256  # a larger grid writes several cells a file, so that this many files hold it ...
CELLS_PER_FILE = 1024  # ... or, from a quarter of a million cells on, this many cells fill each
_PART_BYTES = 64 << 20  # results of a part: what is held in memory, and written at once


class Cell(NamedTuple):
    """One point of a grid."""

    at: dict[str, Any]  # values of the swept fields
    config: Any
    name: str  # 16 hexadecimal digits: a hash of experiment, root seed and whole config


class Plan(NamedTuple):
    """A request, checked: `cells` in the order of the grid, last axis fastest."""

    experiment: Experiment
    cells: list[Cell]
    seeds: list[int]
    root_seed: int
    axes: dict[str, tuple]  # the swept fields; empty for a single cell
    zipped: bool  # the fields are swept together, not as a product
    folder: Path  # of the results
    digest: str  # of the sources that the experiment imports

    @property
    def shape(self) -> tuple[int, ...]:
        lengths = tuple(len(values) for values in self.axes.values())
        return lengths[:1] if self.zipped else lengths

    @property
    def home(self) -> Path:
        """Where everything of this experiment is kept."""
        return self.folder / self.experiment.name


class Group(NamedTuple):
    """Cells that one set of programs serves: equal static fields, recorded steps and labels."""

    experiment: Experiment
    cells: list[int]  # indices in the plan
    configs: list[Any]
    steps: np.ndarray | None
    end: int  # the last step of a run; one shot counts as one
    labels: dict[str, tuple]  # {axis: numbers or words}, of the axes that have any
    shapes: dict[str, Any]  # of one run, by side: "simulation" and "curves" at one step, predictions at all
    digest: str  # of the sources
    training: tuple[str, list[str]]  # a digest of the traced training, and the traced fields that it uses

    @property
    def config(self) -> Any:
        return self.configs[0]

    @property
    def simulated(self) -> list[Any]:
        """The shapes of what the simulation of a run leaves at one step: its `Result`, and its `Curves` if there are any."""
        return [self.shapes[side] for side in ("simulation", "curves") if side in self.shapes]

    @property
    def length(self) -> int:
        """Work of one run, in steps."""
        return max(1, self.end)


class Part(NamedTuple):
    """The runs that are claimed, checkpointed and stored together."""

    group: int
    cells: list[int]  # indices in the plan
    seeds: list[int]
    name: str
    path: Path  # of its file


def make_plan(
    experiment: Experiment,
    config: Any,
    over: Mapping[str, Iterable[Any]] | None,
    zipped: bool,
    seeds: int | Iterable[int] | None,
    root_seed: int,
    folder: Path,
    digest: str,
) -> Plan:
    """Check every value of a request. Raises `UsageError` naming the field, what was given and what is allowed."""
    if not isinstance(root_seed, int | np.integer) or isinstance(root_seed, bool) or not 0 <= root_seed < 2**32:
        raise UsageError(f"root_seed: got {root_seed}; allowed: 0 to 2**32 - 1")
    root_seed = int(root_seed)
    if config is None or isinstance(config, Mapping):
        config = config_.replace(experiment.module.Config(), config or {})
    if not isinstance(config, experiment.module.Config):
        raise UsageError(f"config: got {config!r}; allowed: an instance of {experiment.name}'s Config, or {{field: value}}")
    config_.validate(config)
    axes = {path: _axis(path, values, zipped) for path, values in (over or {}).items()}
    lengths = {path: len(values) for path, values in axes.items()}
    if zipped and len(set(lengths.values())) > 1:
        raise UsageError(f"paired fields need lists of one length; got {', '.join(f'{p}: {n}' for p, n in lengths.items())}")
    zipped = zipped and bool(axes)
    fields = {**experiment.fields, **experiment.curves}
    taken = {"seed", "step", "cell", "point", *ENGINE_FIELDS, *fields}
    taken |= {axis for field in fields.values() for axis in field.axes}
    for path in axes:
        if path in taken:
            raise UsageError(f"{path}: is also the name of a result or an axis of {experiment.name}; rename the field")
    cells = []
    for point in points(axes, zipped):
        one = config_.replace(config, point)
        values = config_.as_dict(one)
        name = cell_name(experiment.name, root_seed, values)
        cells.append(Cell({path: values[path] for path in axes}, one, name))
    if len({cell.name for cell in cells}) < len(cells):
        raise UsageError(f"{', '.join(axes)}: two cells of the grid are the same; allowed: distinct values (1 and 1.0 are one)")
    for index, path in enumerate(axes):  # as the config keeps them: an int given for a float is a float
        length = math.prod(() if zipped else [len(values) for values in list(axes.values())[index + 1 :]])
        axes[path] = tuple(cells[i * length].at[path] for i in range(len(axes[path])))
    return Plan(experiment, cells, _seeds(experiment, seeds), root_seed, axes, zipped, folder, digest)


def _axis(path: str, values: Iterable[Any], zipped: bool) -> tuple:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise UsageError(f"{path}: got {values!r}; allowed: a list of values")
    # numbers out of numpy are plain numbers; each entry is checked against the field's type with the configs
    listed = tuple(value.item() if isinstance(value, np.generic) else value for value in values)
    keys = [json.dumps(value, default=repr) for value in listed]
    if not listed or (not zipped and len(set(keys)) < len(keys)):
        raise UsageError(f"{path}: got {values!r}; allowed: one or more distinct values")
    return listed


def points(axes: Mapping[str, Sequence[Any]], zipped: bool) -> Iterator[dict[str, Any]]:
    """The points of a grid: the product of the axes, or the axes side by side."""
    if not axes:
        yield {}
        return
    for values in zip(*axes.values(), strict=True) if zipped else itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def cells_asked(asked: Mapping[str, Any]) -> list[Cell]:
    """The cells of a request that was noted (see `runner.manifest`), of its plain values alone: without their configs."""
    name, root_seed, base = asked["experiment"], asked["root_seed"], asked["config"]
    grid = points(asked["over"], asked["zipped"])
    return [Cell(point, None, cell_name(name, root_seed, {**base, **point})) for point in grid]


def cell_name(experiment: str, root_seed: int, values: Mapping[str, Any]) -> str:
    """The name of a cell: a hash of experiment, root seed and all values of its config."""
    return hashed([experiment, root_seed, values])


def hashed(identity: Any, digits: int = 16) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:digits]


def _seeds(experiment: Experiment, seeds: int | Iterable[int] | None) -> list[int]:
    seeds = int(seeds) if isinstance(seeds, np.integer) else seeds
    if isinstance(seeds, bool | str) or not (seeds is None or isinstance(seeds, int | Iterable)):
        chosen = []
    else:
        chosen = list(range(seeds)) if isinstance(seeds, int) else list(range(experiment.seeds) if seeds is None else seeds)
    valid = all(isinstance(seed, int | np.integer) and 0 <= seed < 2**32 for seed in chosen)
    if not chosen or not valid or len(set(chosen)) < len(chosen):
        raise UsageError(f"seeds: got {seeds!r}; allowed: a number from 1 on, or distinct whole numbers from 0 to 2**32 - 1")
    return [int(seed) for seed in chosen]


def make_groups(plan: Plan, missing: Sequence[bool]) -> tuple[list[Group], dict[int, Exception]]:
    """The groups that miss a cell, each whole and checked before anything compiles; and the cells whose code raised.

    A cell that breaks the contract is an error of the request (`UsageError`); one whose own code raises when it is
    traced has failed, and the others go on.
    """
    gathered: dict[Any, Group] = {}
    failed: dict[int, Exception] = {}
    for index, cell in enumerate(plan.cells):
        try:
            steps, labels = recorded_steps(plan.experiment, cell.config), labels_of(plan.experiment, cell.config)
            end = last_step(plan.experiment, cell.config, steps)
        except UsageError:
            raise
        except Exception as error:
            failed[index] = error
            continue
        key = (config_.static_key(cell.config), steps if steps is None else steps.tobytes(), end, json.dumps(labels))
        fresh = Group(plan.experiment, [], [], steps, end, labels, {}, plan.digest, ("", []))
        group = gathered.setdefault(key, fresh)
        group.cells.append(index)
        group.configs.append(cell.config)
    groups = []
    for group in gathered.values():
        if not any(missing[cell] for cell in group.cells):
            continue
        try:
            with precision(wants_float64(group.config)):
                shapes = check(plan.experiment, group.config, group.steps)
                training = training_digest(group) if plan.experiment.training else ("", [])
        except UsageError:
            raise
        except Exception as error:
            failed.update(dict.fromkeys(group.cells, error))
            continue
        groups.append(group._replace(shapes=shapes, training=training))
    return groups, failed


def make_parts(plan: Plan, groups: Sequence[Group], tasks: int) -> list[Part]:
    """All runs of the groups, cut into parts. `tasks` is the number of processes that will share them.

    One cell a file up to `FILES` cells, several beyond. The seeds of a cell are cut where the results would be large, or
    where every one of the tasks should find something to do.
    """
    total = len(plan.cells)
    per_file = min(CELLS_PER_FILE, -(-total // FILES))
    runs = total * len(plan.seeds)
    per_task = max(1, runs // (4 * tasks)) if tasks > 1 else runs
    parts = []
    for number, group in enumerate(groups):
        seeds_at_once = max(1, min(len(plan.seeds), _PART_BYTES // result_bytes(group), per_task))
        cells_at_once = 1 if seeds_at_once < len(plan.seeds) else max(1, min(per_file, per_task // len(plan.seeds)))
        for cells in _chunks(group.cells, cells_at_once):
            for seeds in _chunks(plan.seeds, seeds_at_once):
                names = [plan.cells[cell].name for cell in cells]
                unique = hashed([names, seeds, plan.digest])
                name = f"{names[0]}-{unique[:8]}" if len(cells) == 1 else unique
                folder = plan.home / ("" if len(cells) == 1 else "blocks") / name[:2]
                parts.append(Part(number, cells, seeds, name, folder / f"{name}.nc"))
    return parts


def training_digest(group: Group) -> tuple[str, list[str]]:
    """A digest of the training of a group (init, step, number of steps, curves), and the traced fields that it uses.

    What is measured at the end is no part of it. Cells that differ only in other fields share the trained states.
    """
    import jax

    module, config, floats = group.experiment.module, group.config, config_.traced_values(group.config)

    def at(values: dict[str, Any]) -> Any:
        return config_.with_traced(config, values)

    def observe(state: Any, values: dict[str, Any]) -> Any:
        return module.observe(state, at(values)) if group.experiment.curves else ()

    def init(key: Any, values: dict[str, Any]) -> Any:
        return module.init(key, at(values))

    key = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))
    state = jax.eval_shape(init, key, floats)

    def step(state: Any, values: dict[str, Any]) -> Any:
        return module.step(state, at(values))

    traced, used = program_digest((init, key, floats), (step, state, floats), (observe, state, floats))
    dtype = "float64" if wants_float64(config) else "float32"
    return hashed([traced, dtype, group.end, [] if group.steps is None else group.steps.tolist(), jax.__version__]), used


def trained_name(group: Group, root_seed: int, config: Any) -> str:
    """The name of the trained runs of a cell, equal for cells that differ only in what is measured."""
    digest, used = group.training
    values = config_.traced_values(config)
    return hashed([group.experiment.name, root_seed, digest, {name: values[name] for name in used}])


def _chunks(values: list, size: int) -> Iterator[list]:
    return (values[start : start + size] for start in range(0, len(values), size))


def result_bytes(group: Group) -> int:
    """Bytes that one run leaves behind: its history, and as many float64 predictions as can be conditional on a draw."""
    import jax

    rows = 1 if group.steps is None else max(1, len(group.steps))
    numbers = rows * sum(leaf.size for leaf in jax.tree.leaves(group.simulated))
    sides = len(group.experiment.predictions) if group.experiment.conditional else 0
    itemsize = max((leaf.dtype.itemsize for leaf in jax.tree.leaves(group.simulated)), default=4)
    return max(1, numbers * (itemsize + 8 * sides))
