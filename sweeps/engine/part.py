"""A part that this process holds: what it knows of its runs, and what is left to do."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..contract.request import Plan
from ..results import locks, store
from ..results.merge import coordinates
from ..results.stock import meeting
from . import provenance
from .plan import Group, Part, trained_name


class Ended(NamedTuple):
    """Trained states of some runs of one cell, in memory until their part is stored."""

    row: int
    seeds: list[int]
    shapes: Any  # what the leaves are leaves of, without numbers
    leaves: list[np.ndarray]


class OpenPart:
    """A part that this process holds: what it knows of its runs, and what is left to do."""

    def __init__(self, part: Part, plan: Plan, group: Group, lock: locks.Lock):
        self.part, self.group, self.lock = part, group, lock
        self.names = [plan.cells[cell].name for cell in part.cells]
        self.shape = (len(part.cells), len(part.seeds))
        training = group.experiment.training
        configs = [plan.cells[cell].config for cell in part.cells] if training else []
        self.trainings = [trained_name(group, plan.root_seed, config) for config in configs]
        self.simulated = np.zeros(self.shape, bool)
        self.predicted = np.full(self.shape[0], group.experiment.conditional or not group.experiment.predictions)
        self.waiting = np.zeros(self.shape, bool)  # runs to hand out
        self.in_flight = 0  # batches handed out and not back
        self.variables: dict[tuple[str, str], tuple[tuple[str, ...], np.ndarray]] = {}
        self.seconds = 0.0
        self.supersedes: list[Path] = []
        self.ended: list[Ended] = []
        self.stored_at, self.unstored = time.monotonic(), False
        self.writing, self.closing, self.closed = threading.Lock(), False, False

    def put(self, side: str, rows: np.ndarray, result: Any, lead: tuple[str, ...]) -> None:
        """Results of one side, leaves leading with the rows of the flattened `lead` axes; curves belong to the simulation."""
        experiment, curves = self.group.experiment, side == "curves"
        steps, side = ("step",) if experiment.dynamics or curves else (), "simulation" if curves else side
        for name, field in (experiment.curves if curves else experiment.fields).items():
            leaf = getattr(result, name)
            if leaf is not None:
                array = self._array((side, name), (*lead, *steps, *field.axes), leaf.shape[1:], leaf.dtype)
                runs = math.prod(array.shape[: len(lead)])  # not -1: an axis of the result may be empty
                array.reshape(runs, *leaf.shape[1:])[rows] = leaf

    def take_over(self, block: store.Block) -> None:
        """Take the runs of this part from a file."""
        rows, at = meeting(block.cells, {name: row for row, name in enumerate(self.names)})
        columns, of = meeting(block.seeds, {seed: column for column, seed in enumerate(self.part.seeds)})
        if not rows or not columns:
            return
        new = block.stored[np.ix_(rows, columns)] & ~self.simulated[np.ix_(at, of)]
        for key, (axes, array) in block.variables.items():
            if key == ("simulation", "diverged"):  # follows from the numbers
                continue
            lead = 2 if "seed" in axes else 1
            mine = self._array(key, axes, array.shape[lead:], array.dtype)
            if lead == 1:
                mine[at] = array[rows]
                continue
            mask = new.reshape(*new.shape, *[1] * (array.ndim - 2))
            mine[np.ix_(at, of)] = np.where(mask, array[np.ix_(rows, columns)], mine[np.ix_(at, of)])
        self.simulated[np.ix_(at, of)] |= new
        self.predicted[at] = True  # a run is stored together with what is predicted of its cell
        self.seconds += block.provenance["seconds"]

    def _array(self, key: tuple[str, str], axes: tuple[str, ...], inner: tuple[int, ...], dtype: Any) -> np.ndarray:
        if key not in self.variables:
            shape = self.shape if "seed" in axes else self.shape[:1]
            self.variables[key] = axes, np.full((*shape, *inner), np.nan, dtype)
        return self.variables[key][1]

    def block(self, plan: Plan) -> store.Block | None:
        """The runs that are done, simulated and predicted, as they go to disk; None if there are none."""
        stored = self.simulated & self.predicted[:, None]
        rows, columns = np.flatnonzero(stored.any(axis=1)), np.flatnonzero(stored.any(axis=0))
        if not rows.size:
            return None
        variables = dict(self.variables)
        if not stored.all():  # else nothing is written to them any more
            for key, (axes, array) in variables.items():
                variables[key] = axes, array[np.ix_(rows, columns)] if "seed" in axes else array[rows]
        cells, seeds = [self.names[row] for row in rows], [self.part.seeds[column] for column in columns]
        said = provenance.new(plan, plan.cells[self.part.cells[rows[0]]].config, self.seconds)
        if self.trainings:
            said["trained"] = {self.names[row]: self.trainings[row] for row in rows}
        labels = coordinates(variables, self.group.labels, self.group.steps)
        return store.Block(cells, seeds, stored[np.ix_(rows, columns)], variables, labels, said)
