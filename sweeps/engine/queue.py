"""The work of one process: lock parts of a plan, hand out their runs, store what comes back.

Several processes may have the same job at the same time, on one machine or many: each locks one part after another and leaves
alone the parts that another one holds. A part is stored when its last run is done, and its finished runs are stored every few
minutes; what a killed process leaves (finished runs, checkpoints) is taken up by whoever locks the part next. `Queue.run` calls
`executor.execute`, whose threads call back: `take` a batch, then `finished`, `failed`, ...
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .. import memory
from ..contract import config as config_
from ..contract.groups import Group
from ..contract.request import Plan
from ..results import locks, store
from ..results.failures import Failure, failure_of
from ..results.stock import Stock
from . import checkpoints, leftovers
from .batches import KEPT_BYTES, Batch, Item, Settings
from .executor import execute
from .opening import take_up
from .part import Ended, OpenPart
from .plan import Part, make_parts
from .progress import Progress

_POLL_SECONDS = 1.0  # between two looks at parts that another process holds


class Queue:
    """What a plan lacks, as a source of batches for `execute`."""

    def __init__(
        self, plan: Plan, stock: Stock, missing: Sequence[bool], failed: dict[int, Failure], tasks: int, say: Callable
    ):
        self.plan, self.say = plan, say
        self.failures = failed  # {cell: why}: receives more
        self.stop = threading.Event()
        self.interval = 0.0
        self.wanted = np.asarray(missing)
        self.groups: list[Group] = [group for group in plan.groups if self.wanted[group.cells].any()]
        self.unopened = collections.deque(make_parts(plan, self.groups, tasks, stock, self.wanted))
        self.elsewhere: list[Part] = []
        self.suspects: collections.deque[Part] = collections.deque()  # at which processes have died
        self.alone = False  # these run now, one cell at a time
        self.open: dict[str, OpenPart] = {}
        self.first: collections.deque[Item] = collections.deque()  # before the runs that wait in open parts for their beginning
        self.files: dict[str, list[store.Header]] = collections.defaultdict(list)  # by cell
        for file in stock.files:
            for cell in file.cells:
                self.files[cell].append(file)
        self.lock = threading.Lock()
        self.unread: set[Path] = set()  # checkpoints and states that turned out to be damaged
        self.said_large = False
        self.progress = Progress("", 0, show=False)
        self.total = sum(count * group.length for count, group in zip(self.left(), self.groups, strict=True))

    # --- the whole ---

    def run(self, settings: Settings, progress: Progress, wait: bool) -> None:
        """Do what is left, until it is done or `stop` is set; with `wait` also wait for what other processes hold.

        Whatever ends it (Ctrl-C, a full disk), finished runs are stored and runs in progress checkpointed.
        """
        self.progress, self.interval, looked = progress, 60 * settings.checkpoint_minutes, 0
        try:
            while True:
                if self.unopened:
                    execute(self, settings)
                if self.suspects and not self.stop.is_set():  # what processes died at, with nothing beside it
                    self.alone, self.unopened = True, self.suspects
                    self.suspects = collections.deque()
                    execute(self, settings._replace(threads=1))
                    self.alone = False
                looked += 1  # twice more before it ends: what was locked may have been given back
                if self.stop.is_set() or not self.elsewhere or (looked > 2 and not wait):
                    break
                if wait and looked == 1:
                    name, count = self.plan.experiment.name, len(self.elsewhere)
                    self.say(f"{name}: another process works on {count} part{'s' if count > 1 else ''}; waiting for it")
                time.sleep(_POLL_SECONDS)
                self.unopened.extend(self.elsewhere)
                self.elsewhere.clear()
        finally:
            with contextlib.ExitStack() as ending:  # each of them, whatever becomes of the others
                for part in list(self.open.values()):
                    ending.callback(part.lock.release, done=False)
                    ending.callback(self._store, part, final=False)
            self.open.clear()

    # --- what the threads of `execute` call ---

    def take(self, size: Callable[[int], int], threads: int) -> Batch | None:
        """The next batch, of at most `size(group)` runs and of a fair share for each thread; None if nothing is left."""
        with self.lock:
            while True:
                if self.first:
                    item = self.first.popleft()
                    whole = len(item.places)
                    share = 1 if item.alone else whole if item.what == "cells" else self._share(item.part, size, threads)
                    if (some := self._together(item, share)) < whole:
                        self.first.appendleft(item.only(slice(some, None)))
                        item.part.pending += 1
                    return self._batch([item.only(slice(some))])
                if (part := self._waiting()) is not None:
                    return self._batch(self._gather(part.planned.group, self._share(part, size, threads)))
                if not self._open_next():
                    return None

    def finished(self, batch: Batch, results: dict[str, Any], seconds: float) -> None:
        """Results by side, leaves leading with the runs (or cells) of the batch."""
        with self.lock:
            for item, mine in batch.pieces():
                for side, result in results.items():
                    item.part.put(side, item.places, jax.tree.map(lambda leaf, mine=mine: leaf[mine], result))
                item.part.seconds += seconds * len(item.places) / len(batch.cells)
        self._landed(batch)

    def checkpoint(self, batch: Batch, begin: int, row: int, leaves: list[np.ndarray]) -> None:
        """Keep the runs of a batch as they stand."""
        for item, mine in batch.pieces():
            runs = zip(item.cells.tolist(), item.seeds.tolist(), strict=True)
            item.part.checkpoint(list(runs), begin, row, [leaf[mine] for leaf in leaves])

    def trained(self, batch: Batch, carry: Any, leaves: list[np.ndarray]) -> None:
        """Keep the trained states of the runs of a batch; `carry` has the structure of the leaves."""
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), carry)
        for item, mine in batch.pieces():
            ended = Ended(item.cells, item.seeds, shapes, [leaf[mine] for leaf in leaves])
            with self.lock:
                item.part.ended.append(ended)
                held = sum(leaf.nbytes for one in item.part.ended for leaf in one.leaves)
            if held > KEPT_BYTES:
                with item.part.writing:
                    item.part.write_states(self.lock)

    def too_large(self, size: int) -> None:
        """The trained state of a run has `size` bytes, too many to be kept."""
        with self.lock:
            first, self.said_large = not self.said_large, True
        if first:
            name, limit = self.plan.experiment.name, memory.text(KEPT_BYTES)
            self.say(f"{name}: the trained state of a run has {memory.text(size)} and is not kept; states up to {limit} are")

    def returned(self, batch: Batch) -> None:
        """The batch was not done and has to be taken again, in smaller blocks."""
        with self.lock:
            for item in batch.items:
                self._again(item)
        self._landed(batch)

    def unreadable(self, batch: Batch, error: Exception) -> None:
        """The checkpoint or trained states that the batch goes on from cannot be read: its runs start again."""
        (item,) = batch.items
        saved = item.saved
        assert saved is not None
        with self.lock:
            first = saved.path not in self.unread
            self.unread.add(saved.path)
            others = [other for other in self.first if other.saved is saved]
            self.first = collections.deque(other for other in self.first if other.saved is not saved)
            for one in (item, *others):
                anew = one._replace(saved=None, rows=None)
                self.progress.less(one.steps - anew.steps)
                self._again(anew)
                one.part.pending -= 0 if one is item else 1
        if first:
            checkpoints.set_aside(saved.path)
            self.say(f"{saved.path} cannot be read ({str(error).partition(chr(10))[0]}); its runs start again")
        self._landed(batch)

    def failed(self, batch: Batch, error: Exception) -> None:
        """The batch raised while it ran."""
        with self.lock:
            if len(batch.cells) > 1:  # find out which: one after the other
                for item in batch.items:
                    self._again(item, alone=True)
            else:
                self.fail(batch.items[0].part, int(batch.items[0].cells[0]), error)
        self._landed(batch)

    def refused(self, batch: Batch, error: Exception) -> None:
        """The group of the batch cannot be run at all: it does not compile, or one run does not fit."""
        with self.lock:
            while self.unopened and self.unopened[0].group == batch.group and self._open_next():
                pass
            group = [part for part in self.open.values() if part.planned.group == batch.group]
            items = [Item(part, np.flatnonzero(part.waiting)) for part in group]
            items += [item for item in self.first if item.part.planned.group == batch.group and item.what != "cells"]
            for item in (*items, *batch.items):
                for row in np.unique(item.cells).tolist():
                    self.fail(item.part, row, error)
        self._landed(batch, group)

    def running(self) -> None:
        self.progress.running()

    def advanced(self, steps: int) -> None:
        """`steps` further steps were done, over all runs."""
        self.progress.advanced(steps)

    def waiting(self, what: list[str]) -> None:
        """The work was stopped, and ends when these things have come to an end."""
        name, things = self.plan.experiment.name, ", ".join(what)
        self.say(f"{name}: stopped, and waiting for the end of: {things}; interrupted again, it does not wait")

    # --- with the lock held ---

    def left(self) -> list[int]:
        """Runs of each group that are not handed out."""
        found = [0] * len(self.groups)
        for part in self.unopened:
            found[part.group] += part.runs
        for opened in self.open.values():
            found[opened.planned.group] += int(opened.waiting.sum())
        for item in self.first:
            found[item.part.planned.group] += 0 if item.what == "cells" else len(item.places)
        return found

    def _open_next(self) -> bool:
        """Lock and open the next part that has something left to do; False if there is none to be had."""
        while self.unopened:
            part = self.unopened.popleft()
            lock = locks.take(self.plan.home / "locks" / part.name)
            if lock is None:
                self.elsewhere.append(part)
                continue
            opened = OpenPart(part, self.plan, self.groups[part.group], lock)
            try:
                items = take_up(self, opened)
            except BaseException:
                lock.release(done=False)
                raise
            if items is None:
                self.suspects.append(part)
                lock.release(done=False)
                continue
            opened.pending = len(items)
            self.first += items
            steps = int(opened.waiting.sum()) * opened.group.length + sum(item.steps for item in items)
            self.progress.less(part.runs * opened.group.length - steps)
            if not opened.done:
                self.open[part.name] = opened
                return True
            opened.end(self.failures)  # somebody else has done it in the meantime
            leftovers.clean(self.plan.home, part.name)
            opened.tidy()
            lock.release(done=True)
        return False

    def _waiting(self, group: int | None = None) -> OpenPart | None:
        """The first open part (of a group) where runs wait for their beginning."""
        waiting = (part for part in self.open.values() if part.waiting.any() and group in (None, part.planned.group))
        return next(waiting, None)

    def _gather(self, group: int, limit: int) -> list[Item]:
        """At most `limit` waiting runs of one group, from as many parts as it takes."""
        items = []
        while limit > 0:
            part = self._waiting(group)
            if part is not None:
                item = Item(part, np.flatnonzero(part.waiting))
                item = item.only(slice(self._together(item, limit)))
                part.waiting.reshape(-1)[item.places] = False
                part.pending += 1
                items.append(item)
                limit = 0 if self.alone else limit - len(item.places)
            elif not (self.unopened and self.unopened[0].group == group and self._open_next()):
                break
        return items

    def _together(self, item: Item, limit: int) -> int:
        """As many of these runs as can be handed out together; while cells run alone those of the first, named in the lock."""
        if not self.alone:
            return limit
        cells = item.cells
        item.part.note(alone=item.part.names[int(cells[0])])
        return min(limit, int((cells == cells[0]).sum()))

    def _share(self, part: OpenPart, size: Callable[[int], int], threads: int) -> int:
        """Runs of the next batch: what suits the device, fills its lanes, and leaves something for the other threads."""
        group = part.planned.group
        lanes = part.group.traced().lanes
        return max(1, min(size(group), -(-self.left()[group] // (threads * lanes)) * lanes))

    def _batch(self, items: list[Item]) -> Batch:
        group = items[0].part.planned.group
        config = self.groups[group].config
        values, traced = config_.as_dict(config), config_.traced_values(config)
        self.progress.now(", ".join(f"{path}={values[path]}" for path in self.plan.axes if path not in traced))
        cells = np.concatenate([np.asarray(item.part.planned.cells)[item.cells] for item in items])
        seeds = None if items[0].what == "cells" else np.concatenate([item.seeds for item in items])
        return Batch(group, np.searchsorted(self.groups[group].cells, cells), seeds, items)

    def _again(self, item: Item, alone: bool = False) -> None:
        """Let runs wait again that were handed out and not done, without those of cells that have failed since."""
        item = item.only(np.asarray([item.part.planned.cells[row] not in self.failures for row in item.cells], bool))
        if item.what == "simulate" and item.saved is None and not alone:
            item.part.waiting.reshape(-1)[item.places] = True
        elif item.places.size:
            item.part.pending += 1
            self.first.appendleft(item._replace(alone=alone))

    def fail(self, part: OpenPart, row: int, error: Exception) -> None:
        """Give up a cell. The lock is held."""
        self.failures[part.planned.cells[row]] = failure_of(error)
        self.progress.less(int(part.waiting[row].sum()) * part.group.length)
        part.waiting[row] = False
        items, self.first = self.first, collections.deque()
        for item in items:
            kept = item.only(item.cells != row) if item.part is part else item
            self.progress.less(item.steps - kept.steps)
            if kept.places.size:
                self.first.append(kept)
            else:
                part.pending -= 1

    # --- without the lock ---

    def _landed(self, batch: Batch, others: Iterable[OpenPart] = ()) -> None:
        """Note that a batch is back; store the parts that are done now, and those that have not been stored for long."""
        done, due, now = [], [], time.monotonic()
        with self.lock:
            for item in batch.items:
                item.part.pending -= 1
            for part in {part.planned.name: part for part in (*others, *(item.part for item in batch.items))}.values():
                if part.done:
                    if not part.closing:
                        part.closing = True
                        done.append(part)
                elif part.unstored and now - part.stored_at >= self.interval:
                    part.stored_at = now
                    due.append(part)
        for part in done:
            self._store(part, final=True)
            with self.lock:
                del self.open[part.planned.name]
            part.lock.release(done=True)
        for part in due:
            self._store(part, final=False)

    def _store(self, part: OpenPart, final: bool) -> None:
        """Write what is done of a part, and end it if this is final."""
        with part.writing:
            if not part.closed:
                part.store(self.lock)
                if final:
                    part.end(self.failures)
