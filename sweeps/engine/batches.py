"""What is handed out to the threads: runs of parts, in batches; and how to execute them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ...contract import plain
from ..errors import UsageError
from ..results import states
from . import checkpoints
from .programs import Batching

if TYPE_CHECKING:
    from .part import OpenPart

KEPT_BYTES = 64 << 20  # largest trained state of a run that is stored


class Settings(NamedTuple):
    """How to execute; None means that the engine decides."""

    batching: Batching | None = None
    threads: int | None = None
    block: int | None = None  # runs in a block
    chunk: int | None = None  # steps in a chunk
    checkpoint_minutes: float = 5.0  # between two checkpoints of a run, and between two writes of finished runs
    keep: bool = True  # results on disk; False also runs what cannot be told from other code (some host callbacks)

    def checked(self) -> Settings:
        """The settings; raises `UsageError` for a value that is not allowed."""
        for name in ("threads", "block", "chunk"):
            value = plain(getattr(self, name))
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise UsageError(f"{name}: got {value!r}; allowed: a whole number from 1 on")
        if self.batching not in (None, "map", "vmap"):
            raise UsageError(f"batching: got {self.batching!r}; allowed: 'map' or 'vmap'")
        if not self.checkpoint_minutes > 0:
            raise UsageError(f"checkpoint_minutes: got {self.checkpoint_minutes!r}; allowed: a positive number")
        return self._replace(**{name: plain(value) for name, value in self._asdict().items()})


# runs with what is predicted conditional on them; that prediction alone; or unconditional predictions of cells
What = Literal["simulate", "predict", "cells"]

Saved = checkpoints.Saved | states.Trained


class Item(NamedTuple):
    """Runs of a part that are handed out together; of predictions that no run enters, cells of it."""

    part: OpenPart
    places: np.ndarray  # in the flattened part
    what: What = "simulate"
    saved: Saved | None = None  # go on from there ...
    rows: np.ndarray | None = None  # ... with these rows of it
    alone: bool = False  # one at a time: one of them has raised

    @property
    def cells(self) -> np.ndarray:
        """The cell of each, as rows of the part."""
        return self.places if self.what == "cells" else self.places // self.part.shape[1]

    @property
    def seeds(self) -> np.ndarray:
        """The seed of each run."""
        return np.asarray(self.part.planned.seeds, np.int64)[self.places % self.part.shape[1]]

    @property
    def steps(self) -> int:
        """How many are left to do, over all runs."""
        begun = 0 if self.saved is None else self.saved.begin
        return len(self.places) * (self.part.group.length - begun) if self.what == "simulate" else 0

    def only(self, which: slice | np.ndarray) -> Item:
        """Some of them."""
        return self._replace(places=self.places[which], rows=None if self.rows is None else self.rows[which])


class Batch(NamedTuple):
    """What a thread does next: some runs of one group, or the predictions of some of its cells."""

    group: int
    cells: np.ndarray  # rows in the group's list of cells
    seeds: np.ndarray | None  # None: predictions of cells
    items: list[Item]  # whose runs these are, one after the other; a single one, unless they are simulated from the beginning

    @property
    def what(self) -> What:
        """What is done with all of them."""
        return self.items[0].what

    def pieces(self) -> Iterator[tuple[Item, slice]]:
        """Each item, and where its runs are in the batch."""
        ends = itertools.accumulate(len(item.places) for item in self.items)
        return ((item, slice(end - len(item.places), end)) for item, end in zip(self.items, ends, strict=True))
