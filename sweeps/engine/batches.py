"""What the engine's loop and a source of work say to one another: batches of runs, results, and how to execute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from ...contract import plain
from ..errors import UsageError
from ..results import states
from . import checkpoints
from .programs import Batching

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


class Batch(NamedTuple):
    """What a thread does next: some runs of one group, or the predictions of some of its cells."""

    group: int
    cells: np.ndarray  # rows in the group's list of cells
    seeds: np.ndarray | None  # None: predictions of cells
    origin: Any  # the source's own note of where the results belong: parts, and places in them
    what: What = "simulate"
    saved: Saved | None = None  # go on from there ...
    rows: list[int] | None = None  # ... with these rows of it

    def rows_of(self, part: Any, places: np.ndarray) -> np.ndarray:
        """The cells of a part that some places of it belong to."""
        return places if self.what == "cells" else places // part.shape[1]


class Source(Protocol):
    """Where batches come from and results go; called from any thread. What it raises ends the work."""

    def take(self, size: Callable[[int], int], threads: int) -> Batch | None:
        """The next batch, of at most `size(group)` runs and of a fair share for each thread; None if nothing is left."""
        ...

    def finished(self, batch: Batch, results: dict[str, Any], seconds: float) -> None:
        """Results by side, leaves leading with the runs (or cells) of the batch."""
        ...

    def checkpoint(self, batch: Batch, begin: int, row: int, leaves: list[np.ndarray]) -> None:
        """Keep the runs of a batch as they stand."""
        ...

    def trained(self, batch: Batch, carry: Any, leaves: list[np.ndarray]) -> None:
        """Keep the trained states of the runs of a batch; `carry` has the structure of the leaves."""
        ...

    def too_large(self, size: int) -> None:
        """The trained state of a run has `size` bytes, too many to be kept."""
        ...

    def returned(self, batch: Batch) -> None:
        """The batch was not done and has to be taken again, in smaller blocks."""
        ...

    def unreadable(self, batch: Batch, error: Exception) -> None:
        """The checkpoint or trained states that the batch goes on from cannot be read: it has to start again."""
        ...

    def failed(self, batch: Batch, error: Exception) -> None:
        """The batch raised while it ran."""
        ...

    def refused(self, batch: Batch, error: Exception) -> None:
        """The group of the batch cannot be run at all: it does not compile, or one run does not fit."""
        ...

    def running(self) -> None:
        """What was compiled begins to run."""
        ...

    def advanced(self, steps: int) -> None:
        """`steps` further steps were done, over all runs."""
        ...

    def waiting(self, what: list[str]) -> None:
        """The work was stopped, and ends when these things have come to an end."""
        ...
