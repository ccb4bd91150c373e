"""What a sweep consists of, before anything runs: cells, the groups that share a program, and the parts that share a file.

A *cell* is one point of the grid, a *run* one seed of a cell. Cells whose configs differ in traced floats alone form a
*group*: one set of compiled programs serves them. A group's runs are cut into *parts*: the unit that one process claims, that
is checkpointed together and that ends as one file. All of it is a pure function of the request, so that every process that is
given the same request, today or after a crash, here or on another machine, finds the same parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..contract import config as config_
from ..contract.config import hashed
from ..contract.digest import program_digest
from ..contract.experiment import Experiment, check, labels_of, last_step, recorded_steps
from ..contract.precision import precision, wants_float64
from ..contract.request import Plan
from ..errors import UsageError

FILES = 256  # a larger grid writes several cells a file, so that this many files hold it ...
CELLS_PER_FILE = 1024  # ... or, from a quarter of a million cells on, this many cells fill each
PART_BYTES = 64 << 20  # results of a part: what is held in memory, and written at once


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
        seeds_at_once = max(1, min(len(plan.seeds), PART_BYTES // result_bytes(group), per_task))
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
