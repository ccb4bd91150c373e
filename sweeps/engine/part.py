"""A part that this process holds: what it knows of its runs, and what is left to do."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..contract.groups import Group
from ..contract.precision import stored_dtype
from ..contract.request import Plan
from ..results import locks, states, store
from ..results.merge import coordinates
from ..results.stock import meeting
from . import provenance
from .batches import Saved, What
from .plan import Part


class Ended(NamedTuple):
    """Trained states of some runs of one cell, in memory until their part is stored."""

    row: int
    seeds: list[int]
    shapes: Any  # what the leaves are leaves of, without numbers
    leaves: list[np.ndarray]


class OpenPart:
    """The runs of a part: simulated and predicted ones with their numbers, and those that wait."""

    def __init__(self, part: Part, plan: Plan, group: Group, lock: locks.Lock):
        self.part, self.plan, self.group, self.lock = part, plan, group, lock
        self.names = [plan.cells[cell].name for cell in part.cells]
        self.shape = (len(part.cells), len(part.seeds))
        experiment = group.experiment
        configs = [plan.cells[cell].config for cell in part.cells] if experiment.training else []
        self.trainings = [group.trained_name(plan.root_seed, config) for config in configs]
        self.simulated = np.zeros(self.shape, bool)
        self.predicted = np.full(self.shape, not experiment.predictions)
        self.deaths, self.reached = 0, [0, 0, 0]  # processes that died here and got nowhere, and where this one began
        self.waiting = np.zeros(self.shape, bool)  # runs to hand out ...
        self.lacking = np.zeros(self.shape[0], bool)  # ... and cells whose prediction, the same for all seeds, is to be made
        self.in_flight = 0  # batches handed out and not back
        self.variables: dict[tuple[str, str], tuple[tuple[str, ...], np.ndarray]] = {}
        self.origins: list[dict[str, Any]] = [provenance.origin()]
        self.origin = np.zeros(self.shape, np.int16)
        self.seconds = 0.0
        self.supersedes: dict[store.Kind, list[Path]] = {"simulation": [], "prediction": []}
        self.ended: list[Ended] = []
        self.stored_at = time.monotonic()
        self.unstored: set[store.Kind] = set()
        self.writing, self.closing, self.closed = threading.Lock(), False, False

    @property
    def conditional(self) -> bool:
        """Whether the prediction of a run depends on its draw or its trained state."""
        return self.group.experiment.conditional

    def note(self, **about: str) -> None:
        """Say in the lock who holds it, and where the part stood when it was taken."""
        said = {"cells": self.names, "seeds": self.part.seeds, "deaths": self.deaths, "reached": self.reached}
        self.lock.note({**said, **about})

    @property
    def done(self) -> bool:
        """Whether nothing waits to be handed out."""
        return not (self.waiting.any() or self.lacking.any())

    def digest(self, kind: store.Kind) -> str:
        """What the numbers of a kind are named by."""
        assert self.group.identity is not None
        return self.group.identity.simulation if kind == "simulation" else self.group.identity.prediction

    def path(self, kind: store.Kind, complete: bool = True) -> Path:
        """Of the file of a kind; of its finished runs while it is not complete."""
        path = self.part.path if kind == "simulation" else self.part.predictions
        return path if complete else path.with_suffix(".partial.nc")

    def put(self, side: str, rows: np.ndarray, result: Any, lead: tuple[str, ...]) -> None:
        """Results of one side, leaves leading with the rows of the flattened `lead` axes; curves belong to the simulation."""
        experiment, curves = self.group.experiment, side == "curves"
        steps, side = ("step",) if experiment.dynamics or curves else (), "simulation" if curves else side
        for name, field in (experiment.curves if curves else experiment.fields).items():
            leaf = getattr(result, name)
            if leaf is not None:
                array = self._array((side, name), (*lead, *steps, *field.axes), leaf.shape[1:], stored_dtype(leaf.dtype))
                runs = math.prod(array.shape[: len(lead)])  # not -1: an axis of the result may be empty
                array.reshape(runs, *leaf.shape[1:])[rows] = leaf

    def take_over(self, block: store.Block) -> None:
        """Take the runs of this part from a file of the same digest."""
        if block.provenance["digest"] != self.digest(block.kind):
            return
        rows, at = meeting(block.cells, {name: row for row, name in enumerate(self.names)})
        columns, of = meeting(block.seeds, {seed: column for column, seed in enumerate(self.part.seeds)})
        of_cells = not block.seeds  # predictions, whatever the seed
        if not rows or not (columns or of_cells):
            return
        done = self.simulated if block.kind == "simulation" else self.predicted
        mine = np.ix_(at, of)
        new = block.stored[np.ix_(rows, columns)] & ~done[mine]
        for key, (axes, array) in block.variables.items():
            if key == ("simulation", "diverged"):  # follows from the numbers
                continue
            lead = 2 if "seed" in axes else 1
            whole = self._array(key, axes, array.shape[lead:], array.dtype)
            if lead == 1:
                whole[at] = array[rows]
                continue
            mask = new.reshape(*new.shape, *[1] * (array.ndim - 2))
            whole[mine] = np.where(mask, array[np.ix_(rows, columns)], whole[mine])
        if of_cells:
            done[at] = True
        else:
            done[mine] |= new
        if block.kind == "simulation" and block.origin is not None:
            known = [self._origin(origin) for origin in block.provenance["origins"]]
            self.origin[mine] = np.where(new, np.asarray(known)[block.origin[np.ix_(rows, columns)]], self.origin[mine])
        self.seconds += block.provenance["seconds"] if block.kind == "simulation" else 0.0

    def _origin(self, origin: dict[str, Any]) -> int:
        if origin not in self.origins:
            self.origins.append(origin)
        return self.origins.index(origin)

    def _array(self, key: tuple[str, str], axes: tuple[str, ...], inner: tuple[int, ...], dtype: Any) -> np.ndarray:
        if key not in self.variables:
            shape = self.shape if "seed" in axes else self.shape[:1]
            self.variables[key] = axes, np.full((*shape, *inner), np.nan, dtype)
        return self.variables[key][1]

    def blocks(self) -> Iterator[store.Block]:
        """What is done and not yet stored, as it goes to disk: simulations, and predictions apart."""
        for kind in sorted(self.unstored):
            done = self.simulated if kind == "simulation" else self.predicted
            rows, columns = np.flatnonzero(done.any(axis=1)), np.flatnonzero(done.any(axis=0))
            if not rows.size:
                continue
            by_run = kind == "simulation" or self.conditional
            seeds = [self.part.seeds[column] for column in columns] if by_run else []
            mine = [key for key in self.variables if (key[0] == "simulation") == (kind == "simulation")]
            variables = {key: self.variables[key] for key in mine}
            if not done.all():  # else nothing is written to them any more
                for key, (axes, array) in variables.items():
                    variables[key] = axes, array[np.ix_(rows, columns)] if "seed" in axes else array[rows]
            said = provenance.new(self.plan, self.plan.cells[self.part.cells[rows[0]]].config, self.seconds)
            said |= {"digest": self.digest(kind), "origins": self.origins}
            if self.trainings and kind == "simulation":
                said["trained"] = {self.names[row]: self.trainings[row] for row in rows}
            stored = done[np.ix_(rows, columns)] if by_run else np.zeros((len(rows), 0), bool)
            origin = self.origin[np.ix_(rows, columns)] if kind == "simulation" else None
            labels = coordinates(variables, self.group.labels, self.group.steps)
            yield store.Block(kind, [self.names[row] for row in rows], seeds, stored, variables, labels, said, origin)

    def write(self, block: store.Block) -> None:
        """Store a block, then remove the files that it supersedes."""
        complete = len(block.cells) == self.shape[0] and bool(block.stored.all())
        complete = complete and len(block.seeds) in (0, self.shape[1])
        path = self.path(block.kind, complete)
        store.write(path, block)
        for old in self.supersedes[block.kind]:
            if old != path:
                with contextlib.suppress(FileNotFoundError):
                    old.unlink()
        self.supersedes[block.kind] = [] if complete else [path]

    def tidy(self) -> None:
        """Remove the files that complete ones supersede: whoever wrote these may have been killed before."""
        for kind, paths in self.supersedes.items():
            for path in paths if self.path(kind).exists() else ():
                path.unlink(missing_ok=True)

    def write_states(self, lock: threading.Lock) -> None:
        """Store the trained states that wait, one file for each cell: a file for each run costs more than its run."""
        with lock:
            ended, self.ended = self.ended, []
        try:
            for row in sorted({one.row for one in ended}):
                mine = [one for one in ended if one.row == row]
                seeds = np.concatenate([one.seeds for one in mine])
                order, name = np.argsort(seeds), self.trainings[row]
                leaves = [np.concatenate(parts)[order] for parts in zip(*(one.leaves for one in mine), strict=True)]
                said = provenance.new(self.plan, self.plan.cells[self.part.cells[row]].config, 0.0) | {"training": name}
                states.save(self.plan.home, name, seeds[order].tolist(), mine[0].shapes, leaves, said)
        except BaseException:
            with lock:
                self.ended = ended + self.ended
            raise


class Item(NamedTuple):
    """Runs of a part that wait to be handed out; of predictions of cells, rows of it."""

    part: OpenPart
    places: np.ndarray  # in the flattened part
    what: What = "simulate"
    saved: Saved | None = None  # go on from there ...
    rows: list[int] | None = None  # ... with these rows of it
    alone: bool = False  # one run at a time: one of them has raised
