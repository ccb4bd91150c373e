"""A part that this process holds: what it knows of its runs, and what is left to do."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..contract.groups import Group
from ..contract.precision import stored_dtype
from ..contract.request import Plan
from ..errors import UsageError
from ..results import locks, states, store
from ..results.failures import Failure, record
from ..results.merge import coordinates, lay
from ..results.stock import meeting
from . import checkpoints, provenance
from .plan import Part


class Ended(NamedTuple):
    """Trained states of some runs, in memory until their part is stored."""

    cells: np.ndarray  # rows of the part
    seeds: np.ndarray
    shapes: Any  # what the leaves are leaves of, without numbers
    leaves: list[np.ndarray]


class Kept:
    """What a part has of one kind: which runs are done, their numbers, and the file that they go to."""

    def __init__(self, kind: store.Kind, digest: str, path: Path, shape: tuple[int, int], by_run: bool):
        self.kind: store.Kind = kind
        self.digest, self.complete, self.partial = digest, path, path.with_suffix(".partial.nc")
        self.by_run = by_run  # else the numbers of a cell are those of all its seeds
        self.done = np.zeros(shape, bool)  # (cell, seed)
        self.variables: dict[tuple[str, str], tuple[tuple[str, ...], np.ndarray]] = {}
        self.supersedes: list[Path] = []
        self.unstored = False

    @property
    def lead(self) -> tuple[str, ...]:
        """The axes that the numbers begin with."""
        return ("cell", "seed") if self.by_run else ("cell",)

    def array(self, key: tuple[str, str], axes: tuple[str, ...], inner: tuple[int, ...], dtype: Any) -> np.ndarray:
        """The numbers of a field; NaN before any is there."""
        if key not in self.variables:
            self.variables[key] = axes, np.full((*self.done.shape[: len(self.lead)], *inner), np.nan, dtype)
        return self.variables[key][1]


class OpenPart:
    """The runs of a part: simulated and predicted ones with their numbers, and those that wait."""

    def __init__(self, part: Part, plan: Plan, group: Group, lock: locks.Lock):
        self.planned, self.plan, self.group, self.lock = part, plan, group, lock
        assert group.identity is not None
        self.names = [plan.cells[cell].name for cell in part.cells]
        self.shape = shape = (len(part.cells), len(part.seeds))
        experiment, version = group.experiment, group.identity.version
        configs = [plan.cells[cell].config for cell in part.cells] if experiment.training else []
        self.trainings = [group.trained_name(plan.root_seed, config) for config in configs]
        self.checkpoints = plan.home / "checkpoints" / part.name  # a folder
        self.failed = plan.home / "failed" / f"{part.name}.json"
        self.simulated = Kept("simulation", version.simulation, part.path, shape, True)
        self.predicted = Kept("prediction", version.prediction, part.predictions, shape, experiment.conditional)
        self.predicted.done[:] = not experiment.predictions
        self.kept = {"simulation": self.simulated, "prediction": self.predicted}
        self.deaths, self.reached = 0, [0, 0, 0]  # processes that died here and got nowhere, and where this one began
        self.waiting = np.zeros(shape, bool)  # runs to begin with
        self.pending = 0  # items that wait in the queue, or are handed out and not back
        self.origins: list[dict[str, Any]] = [provenance.origin()]
        self.origin = np.zeros(shape, np.int16)
        self.seconds = 0.0
        self.ended: list[Ended] = []
        self.stored_at = time.monotonic()
        self.writing, self.closing, self.closed = threading.Lock(), False, False

    def note(self, **about: str) -> None:
        """Say in the lock who holds it, and where the part stood when it was taken."""
        said = {"cells": self.names, "seeds": self.planned.seeds, "deaths": self.deaths, "reached": self.reached}
        self.lock.note({**said, **about})

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.pending or self.waiting.any())

    @property
    def unstored(self) -> bool:
        """Whether numbers are here that are in no file."""
        return self.simulated.unstored or self.predicted.unstored

    def put(self, side: str, places: np.ndarray, result: Any) -> None:
        """Results of one side, leaves leading with the runs at these places; or with cells, whose seeds all share them."""
        kept = self.simulated if side in ("simulation", "curves") else self.predicted
        for key, axes, leaf in self.group.named(side, result, kept.lead):
            array = kept.array(key, axes, leaf.shape[1:], stored_dtype(leaf.dtype))
            runs = math.prod(array.shape[: len(kept.lead)])  # not -1: an axis of the result may be empty
            array.reshape(runs, *leaf.shape[1:])[places] = leaf
        (kept.done.reshape(-1) if kept.by_run else kept.done)[places] = True
        kept.unstored = True

    def take_over(self, block: store.Block) -> None:
        """Take the runs of this part from a file of the same digest."""
        kept = self.kept[block.kind]
        rows, at = meeting(block.cells, {name: row for row, name in enumerate(self.names)})
        columns, of = meeting(block.seeds, {seed: column for column, seed in enumerate(self.planned.seeds)})
        if block.provenance["digest"] != kept.digest or not rows or (kept.by_run and not columns):
            return
        mine, theirs = np.ix_(at, of), np.ix_(rows, columns)
        new = block.stored[theirs] & ~kept.done[mine]
        arrays = {
            key: (kept.array(key, axes, array.shape[len(kept.lead) :], array.dtype), ())
            for key, (axes, array) in block.variables.items()
            if key != ("simulation", "diverged")  # follows from the numbers
        }
        lay(block, (rows, at), (columns, of), new, arrays)
        if not kept.by_run:
            kept.done[at] = True
            return
        kept.done[mine] |= new
        if block.origin is not None:
            known = [self._origin(origin) for origin in block.provenance["origins"]]
            self.origin[mine] = np.where(new, np.asarray(known)[block.origin[theirs]], self.origin[mine])
        self.seconds += block.provenance["seconds"] if kept is self.simulated else 0.0

    def _origin(self, origin: dict[str, Any]) -> int:
        if origin not in self.origins:
            self.origins.append(origin)
        return self.origins.index(origin)

    def blocks(self) -> list[store.Block]:
        """What is done and not yet stored, as it goes to disk; it counts as stored from now on."""
        found = [self._block(kept) for kept in (self.predicted, self.simulated) if kept.unstored]
        self.simulated.unstored = self.predicted.unstored = False
        return found

    def _block(self, kept: Kept) -> store.Block:
        simulated, done = kept is self.simulated, kept.done
        rows, columns = np.flatnonzero(done.any(axis=1)), np.flatnonzero(done.any(axis=0) & kept.by_run)
        inner = np.ix_(rows, columns)
        variables = dict(kept.variables)
        if not done.all():  # else nothing is written to them any more
            variables = {key: (axes, array[inner if kept.by_run else rows]) for key, (axes, array) in variables.items()}
        said = provenance.new(self.plan, self.plan.cells[self.planned.cells[rows[0]]].config, self.seconds)
        said |= {"digest": kept.digest, "origins": self.origins}
        if self.trainings and simulated:
            said["trained"] = {self.names[row]: self.trainings[row] for row in rows}
        names, seeds = [self.names[row] for row in rows], [self.planned.seeds[column] for column in columns]
        labels = coordinates(variables, self.group.labels, self.group.steps)
        return store.Block(
            kept.kind, names, seeds, done[inner], variables, labels, said, self.origin[inner] if simulated else None
        )

    def store(self, lock: threading.Lock) -> None:
        """Write what is done and not yet stored; what could not be written counts as not stored. `lock` is the queue's."""
        with lock:
            blocks = self.blocks()
        try:
            self.write_states(lock)
            while blocks:
                self.write(blocks[0])
                del blocks[0]
        except BaseException:
            for block in blocks:
                self.kept[block.kind].unstored = True
            raise

    def checkpoint(self, runs: list[tuple[int, int]], begin: int, row: int, leaves: list[np.ndarray]) -> None:
        """Keep some runs, (row of the part, seed), as they stand."""
        named = [(self.names[cell], seed) for cell, seed in runs]
        try:
            checkpoints.save(self.checkpoints, named, begin, row, leaves, self.simulated.digest)
        except UsageError:
            if self.lock.exclusive:
                raise  # else another process may have finished the part and tidied up

    def write(self, block: store.Block) -> None:
        """Store a block, then remove the files that it supersedes."""
        kept = self.kept[block.kind]
        complete = len(block.cells) == self.shape[0] and bool(block.stored.all())
        complete = complete and len(block.seeds) == (self.shape[1] if kept.by_run else 0)
        path = kept.complete if complete else kept.partial
        store.write(path, block)
        for old in kept.supersedes:
            if old != path:
                with contextlib.suppress(FileNotFoundError):
                    old.unlink()
        kept.supersedes = [] if complete else [path]

    def end(self, failures: Mapping[int, Failure]) -> None:
        """Nothing is left to do: note which of its cells have failed, and remove what is not needed any more."""
        record(self.failed, self.plan, {cell: failures[cell] for cell in self.planned.cells if cell in failures})
        checkpoints.remove(self.checkpoints)
        self.closed = True
        for kept in self.kept.values():
            kept.variables.clear()  # batches that are still referred to hold the part

    def tidy(self) -> None:
        """Remove the files that complete ones supersede: whoever wrote these may have been killed before."""
        for kept in self.kept.values():
            for path in kept.supersedes if kept.complete.exists() else ():
                path.unlink(missing_ok=True)

    def write_states(self, lock: threading.Lock) -> None:
        """Store the trained states that wait, one file for each cell: a file for each run costs more than its run."""
        with lock:
            ended, self.ended = self.ended, []
        try:
            for row in sorted({row for one in ended for row in one.cells.tolist()}):
                mine = [(one, one.cells == row) for one in ended if row in one.cells]
                seeds = np.concatenate([one.seeds[which] for one, which in mine])
                order, name = np.argsort(seeds), self.trainings[row]
                pieces = zip(*([leaf[which] for leaf in one.leaves] for one, which in mine), strict=True)
                leaves = [np.concatenate(parts)[order] for parts in pieces]
                said = provenance.new(self.plan, self.plan.cells[self.planned.cells[row]].config, 0.0) | {"training": name}
                states.save(self.plan.home, name, seeds[order].tolist(), ended[0].shapes, leaves, said)
        except BaseException:
            with lock:
                self.ended = ended + self.ended
            raise
