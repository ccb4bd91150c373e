"""The work of one process: lock parts of a plan, hand out their runs, store what comes back.

Several processes may have the same job at the same time, on one machine or many: each locks one part after another and leaves
alone the parts that another one holds. A part is stored when its last run is done, and its finished runs are stored every few
minutes; what a killed process leaves (finished runs, checkpoints) is taken up by whoever locks the part next. `Queue.run` calls
`executor.execute`, whose threads call back: `take` a batch, then `finished`, `failed`, ... (explained at `executor.Source`).
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
from ..errors import UsageError
from ..results import locks, store
from ..results.failures import Failure, failure_of, record
from ..results.stock import Stock
from . import checkpoints, leftovers
from .batches import KEPT_BYTES, Batch, Settings, What
from .executor import execute
from .opening import take_up
from .part import Ended, Item, OpenPart
from .plan import Part, make_parts
from .progress import Progress

_POLL_SECONDS = 1.0  # between two looks at parts that another process holds


class Queue:
    """What a plan lacks, as a source of batches for `execute`."""

    def __init__(
        self,
        plan: Plan,
        stock: Stock,
        missing: Sequence[bool],
        failed: dict[int, Failure],
        tasks: int,
        say: Callable[[str], None],
    ):
        self.plan, self.say = plan, say
        self.failures = failed  # {cell: why}: those known before are left out
        self.stop = threading.Event()
        self.interval = 0.0
        leaves = config_.leaves(plan.cells[0].config)
        self.static = {leaf.path for leaf in leaves if not leaf.traced}
        self.wanted = np.asarray(missing) & ~np.isin(np.arange(len(missing)), list(failed))
        self.groups: list[Group] = [group for group in plan.groups if self.wanted[group.cells].any()]
        parts = make_parts(plan, self.groups, tasks)
        column = {seed: index for index, seed in enumerate(plan.seeds)}
        by_run = plan.experiment.conditional
        lacks = ~(stock.have if by_run else stock.simulated) & self.wanted[:, None]
        lacks_any = ~stock.have & self.wanted[:, None]
        self.runs_of: dict[str, int] = {}
        self.unopened: collections.deque[Part] = collections.deque()
        for part in parts:
            mine = np.ix_(part.cells, [column[seed] for seed in part.seeds])
            self.runs_of[part.name] = int(lacks[mine].sum())
            if lacks_any[mine].any():
                self.unopened.append(part)
        self.elsewhere: list[Part] = []
        self.files: dict[str, list[store.Header]] = collections.defaultdict(list)  # by cell
        for file in stock.files:
            for cell in file.cells:
                self.files[cell].append(file)
        self.row_of = [{cell: row for row, cell in enumerate(group.cells)} for group in self.groups]
        self.left = [0] * len(self.groups)  # runs not yet handed out
        for part in self.unopened:
            self.left[part.group] += self.runs_of[part.name]
        self.total = sum(count * group.length for count, group in zip(self.left, self.groups, strict=True))
        self.open: dict[str, OpenPart] = {}
        self.first: collections.deque[Item] = collections.deque()  # predictions, runs to go on with, runs to be done alone
        self.ready: collections.deque[Item] = collections.deque()  # runs from their beginning
        self.suspects: collections.deque[Part] = collections.deque()  # at which processes have died
        self.alone = False  # these run now, one cell at a time
        self.lock = threading.Lock()
        self.unread: set[Path] = set()  # checkpoints and states that turned out to be damaged
        self.said_large = False
        self.progress = Progress("", 0, show=False)

    # --- the whole ---

    def run(self, settings: Settings, progress: Progress, wait: bool) -> None:
        """Do what is left, until it is done or `stop` is set; with `wait` also wait for what other processes hold.

        Whatever ends it (Ctrl-C, a full disk), finished runs are stored and runs in progress checkpointed.
        """
        self.progress, self.interval, said, looked = progress, 60 * settings.checkpoint_minutes, False, 0
        try:
            while True:
                if self.unopened:
                    execute(self.groups, self.left, self, self.plan.root_seed, settings, self.stop)
                if self.suspects and not self.stop.is_set():  # what processes died at, with nothing beside it
                    self.alone, self.unopened = True, self.suspects
                    self.suspects = collections.deque()
                    execute(self.groups, self.left, self, self.plan.root_seed, settings._replace(threads=1), self.stop)
                    self.alone = False
                if self.stop.is_set() or not self.elsewhere or looked == 2:
                    break
                looked += not wait  # once more before it ends: what was locked may have been given back
                if wait and not said:
                    name, count = self.plan.experiment.name, len(self.elsewhere)
                    self.say(f"{name}: another process works on {count} part{'s' if count > 1 else ''}; waiting for it")
                    said = True
                time.sleep(_POLL_SECONDS)
                self.unopened.extend(self.elsewhere)
                self.elsewhere.clear()
        finally:
            with contextlib.ExitStack() as ending:  # each of them, whatever becomes of the others
                for part in list(self.open.values()):
                    ending.callback(part.lock.release, done=False)
                    ending.callback(self._store, part, final=False)
            self.open.clear()

    # --- what `execute` asks for, from any thread; each is explained at `executor.Source` ---

    def take(self, size: Callable[[int], int], threads: int) -> Batch | None:
        with self.lock:
            while True:
                if self.first:
                    batch = self._cut(self.first.popleft(), size, threads)
                    if batch is not None:
                        return batch
                elif self.ready:
                    pieces = self._gather(self._share(self.ready[0].part, size, threads))
                    if pieces:
                        return self._away(self._batch(pieces))
                elif not self._open_next():
                    return None

    def finished(self, batch: Batch, results: dict[str, Any], seconds: float) -> None:
        begin = 0
        with self.lock:
            for part, places in batch.origin:
                mine = slice(begin, begin + len(places))
                begin += len(places)
                for side, result in results.items():
                    chosen = type(result)(*[None if leaf is None else leaf[mine] for leaf in result])
                    part.put(side, places, chosen, ("cell",) if batch.what == "cells" else ("cell", "seed"))
                if batch.what == "cells":
                    part.predicted[places] = True
                else:
                    if batch.what == "simulate":
                        part.simulated.reshape(-1)[places] = True
                    if part.conditional:
                        part.predicted.reshape(-1)[places] = True
                part.unstored |= {"simulation" if side in ("simulation", "curves") else "prediction" for side in results}
                part.seconds += seconds * len(places) / len(batch.cells)
        self._landed(batch)

    def checkpoint(self, batch: Batch, begin: int, row: int, leaves: list[np.ndarray]) -> None:
        first = 0
        for part, places in batch.origin:
            runs = [(part.names[place // part.shape[1]], part.part.seeds[place % part.shape[1]]) for place in places.tolist()]
            mine = [leaf[first : first + len(places)] for leaf in leaves]
            try:
                checkpoints.save(self.checkpoints_of(part.part), runs, begin, row, mine, part.digest("simulation"))
            except UsageError:
                if part.lock.exclusive:
                    raise  # else another process may have finished the part and tidied up
            first += len(places)

    def trained(self, batch: Batch, carry: Any, leaves: list[np.ndarray]) -> None:
        first, shapes = 0, jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), carry)
        for part, places in batch.origin:
            rows = places // part.shape[1]
            for row in np.unique(rows).tolist():
                mine = first + np.flatnonzero(rows == row)
                seeds = [part.part.seeds[place % part.shape[1]] for place in places[rows == row].tolist()]
                with self.lock:
                    part.ended.append(Ended(row, seeds, shapes, [leaf[mine] for leaf in leaves]))
            first += len(places)
            with self.lock:
                held = sum(leaf.nbytes for one in part.ended for leaf in one.leaves)
            if held > KEPT_BYTES:
                with part.writing:
                    part.write_states(self.lock)

    def too_large(self, size: int) -> None:
        with self.lock:
            said, self.said_large = self.said_large, True
        if not said:
            name, limit = self.plan.experiment.name, memory.text(KEPT_BYTES)
            self.say(f"{name}: the trained state of a run has {memory.text(size)} and is not kept; states up to {limit} are")

    def returned(self, batch: Batch) -> None:
        with self.lock:
            self._back(batch, alone=False)
        self._landed(batch)

    def unreadable(self, batch: Batch, error: Exception) -> None:
        saved = batch.saved
        assert saved is not None
        with self.lock:
            first = saved.path not in self.unread
            self.unread.add(saved.path)
            others = [item for item in self.first if item.saved is saved]
            self.first = collections.deque(item for item in self.first if item.saved is not saved)
            self.ready.extendleft(Item(item.part, item.places) for item in others)
            if isinstance(saved, checkpoints.Saved):
                self.progress.less(-saved.begin * (len(batch.cells) + sum(len(item.places) for item in others)))
        if first and isinstance(saved, checkpoints.Saved):
            checkpoints.set_aside(saved.path)
        if first:
            self.say(f"{saved.path} cannot be read ({str(error).partition(chr(10))[0]}); its runs start again")
        self.returned(batch._replace(saved=None, rows=None))

    def failed(self, batch: Batch, error: Exception) -> None:
        with self.lock:
            if len(batch.cells) > 1:  # find out which: one after the other
                self._back(batch, alone=True)
            else:
                part, places = batch.origin[0]
                self.fail(part, int(batch.rows_of(part, places)[0]), error)
        self._landed(batch)

    def refused(self, batch: Batch, error: Exception) -> None:
        with self.lock:
            while self.unopened and self.unopened[0].group == batch.group and self._open_next():
                pass
            group = [part for part in self.open.values() if part.part.group == batch.group]
            for part in group:
                for row in np.flatnonzero(part.waiting.any(axis=1)):
                    self.fail(part, int(row), error)
            for part, places in batch.origin:
                for row in np.unique(batch.rows_of(part, places)).tolist():
                    self.fail(part, row, error)
        self._landed(batch, group)

    def advanced(self, steps: int) -> None:
        self.progress.advanced(steps)

    def waiting(self, what: list[str]) -> None:
        name, things = self.plan.experiment.name, ", ".join(what)
        self.say(f"{name}: stopped, and waiting for the end of: {things}; interrupted again, it does not wait")

    # --- with the lock held ---

    def _open_next(self) -> bool:
        """Lock and open the next part that has something left to do; False if there is none to be had."""
        while self.unopened:
            part = self.unopened.popleft()
            work = self.runs_of[part.name] * self.groups[part.group].length
            lock = locks.take(self.plan.home / "locks" / part.name)
            if lock is None:
                self.elsewhere.append(part)
                continue
            opened = OpenPart(part, self.plan, self.groups[part.group], lock)
            try:
                if not take_up(self, opened):
                    self.suspects.append(part)
                    lock.release(done=False)
                    continue
            except BaseException:
                lock.release(done=False)
                raise
            self.left[part.group] += int(opened.waiting.sum()) - self.runs_of[part.name]
            self.progress.less(work - int(opened.waiting.sum()) * opened.group.length)
            self.runs_of[part.name] = 0
            if opened.done:  # somebody else has done it in the meantime
                checkpoints.remove(self.checkpoints_of(part))
                record(self.failures_of(part), self.plan, self._failed_in(part))
                leftovers.clean(self.plan.home, part.name)
                opened.tidy()
                lock.release(done=True)
                continue
            self.open[part.name] = opened
            return True
        return False

    def _cut(self, item: Item, size: Callable[[int], int], threads: int) -> Batch | None:
        """A batch of an item, and what it leaves back in front; None if its cells have failed since."""
        part, places, rows = item.part, item.places, item.rows
        kept = (part.lacking if item.what == "cells" else part.waiting.reshape(-1))[places]
        places, rows = places[kept], None if rows is None else [row for row, keep in zip(rows, kept, strict=True) if keep]
        limit = 1 if item.alone else len(places) if item.what == "cells" else self._share(part, size, threads)
        limit = self._one_cell(part, places, item.what, limit)
        if len(places) > limit:
            self.first.appendleft(item._replace(places=places[limit:], rows=None if rows is None else rows[limit:]))
            places, rows = places[:limit], None if rows is None else rows[:limit]
        if not len(places):
            return None
        return self._away(self._batch([(part, places)], item.what)._replace(saved=item.saved, rows=rows))

    def _gather(self, limit: int) -> list[tuple[OpenPart, np.ndarray]]:
        """At most `limit` waiting runs of one group, from as many parts as it takes."""
        group, pieces = self.ready[0].part.part.group, []
        while limit > 0:
            if not self.ready and not (self.unopened and self.unopened[0].group == group and self._open_next()):
                break
            if not self.ready:
                continue
            if self.ready[0].part.part.group != group:
                break
            part, places, *_ = self.ready.popleft()
            places = places[part.waiting.reshape(-1)[places]]  # without those of cells that have failed since
            mine = self._one_cell(part, places, "simulate", limit)
            if len(places) > mine:
                self.ready.appendleft(Item(part, places[mine:]))
                places = places[:mine]
            if len(places):
                pieces.append((part, places))
                limit = 0 if self.alone else limit - len(places)
        return pieces

    def _one_cell(self, part: OpenPart, places: np.ndarray, what: What, limit: int) -> int:
        """As many of these runs as can be handed out together; while cells run alone those of the first, named in the lock."""
        if not self.alone or not len(places):
            return limit
        rows = places if what == "cells" else places // part.shape[1]
        part.note(alone=part.names[int(rows[0])])
        return min(limit, int((rows == rows[0]).sum()))

    def _share(self, part: OpenPart, size: Callable[[int], int], threads: int) -> int:
        """Runs of the next batch: what suits the device, and leaves something for the other threads."""
        group = part.part.group
        return max(1, min(size(group), -(-self.left[group] // threads)))

    def _batch(self, pieces: list[tuple[OpenPart, np.ndarray]], what: What = "simulate") -> Batch:
        group = pieces[0][0].part.group
        cells = what == "cells"
        rows = [
            self.row_of[group][part.part.cells[row]]
            for part, places in pieces
            for row in (places if cells else places // part.shape[1]).tolist()
        ]
        seeds = [part.part.seeds[column] for part, places in pieces for column in (places % part.shape[1]).tolist()]
        return Batch(group, np.asarray(rows), None if cells else np.asarray(seeds, np.int64), pieces, what)

    def _away(self, batch: Batch) -> Batch:
        """Note that a batch is handed out."""
        for part, places in batch.origin:
            part.in_flight += 1
            (part.lacking if batch.what == "cells" else part.waiting.reshape(-1))[places] = False
        if batch.what != "cells":
            self.left[batch.group] -= len(batch.cells)
        config = config_.as_dict(self.groups[batch.group].config)
        self.progress.now(", ".join(f"{path}={config[path]}" for path in self.plan.axes if path in self.static))
        return batch

    def _back(self, batch: Batch, alone: bool) -> None:
        """Queue a batch again that was not done, without runs of cells that have failed since."""
        first = 0
        for part, places in batch.origin:
            there = np.asarray([part.part.cells[row] not in self.failures for row in batch.rows_of(part, places)])
            (part.lacking if batch.what == "cells" else part.waiting.reshape(-1))[places[there]] = True
            rows = None if batch.rows is None else batch.rows[first : first + len(places)]
            first += len(places)
            item = Item(part, places, batch.what, batch.saved, rows, alone)
            if batch.what == "simulate" and batch.saved is None and not alone:
                self.ready.appendleft(item)
            else:
                self.first.appendleft(item)
            self.left[batch.group] += 0 if batch.what == "cells" else int(there.sum())

    def fail(self, part: OpenPart, row: int, error: Exception) -> None:
        """Give up a cell. The lock is held."""
        self.failures[part.part.cells[row]] = failure_of(error)
        dropped = int(part.waiting[row].sum())
        part.waiting[row], part.lacking[row] = False, False
        self.left[part.part.group] -= dropped
        self.progress.less(dropped * part.group.length)

    # --- without the lock ---

    def _landed(self, batch: Batch, others: Iterable[OpenPart] = ()) -> None:
        """Note that a batch is back; store the parts that are done now, and those that have not been stored for long."""
        done, due, now = [], [], time.monotonic()
        with self.lock:
            for part, _ in batch.origin:
                part.in_flight -= 1
            for part in {part.part.name: part for part in (*others, *(part for part, _ in batch.origin))}.values():
                if part.done and not part.in_flight:
                    if not part.closing:
                        part.closing = True
                        done.append(part)
                elif part.unstored and now - part.stored_at >= self.interval:
                    part.stored_at = now
                    due.append(part)
        for part in done:
            self._store(part, final=True)
            with self.lock:
                del self.open[part.part.name]
            part.lock.release(done=True)
        for part in due:
            self._store(part, final=False)

    def _store(self, part: OpenPart, final: bool) -> None:
        """Write what is done of a part; at its end also its failures, and remove what is not needed any more."""
        with part.writing:
            if part.closed:
                return
            with self.lock:
                blocks, unstored = list(part.blocks()), set(part.unstored)
                part.unstored.clear()
            part.write_states(self.lock)
            try:
                for block in blocks:
                    part.write(block)
                    unstored.discard(block.kind)
            except BaseException:
                part.unstored |= unstored
                raise
            if final:
                record(self.failures_of(part.part), self.plan, self._failed_in(part.part))
                checkpoints.remove(self.checkpoints_of(part.part))
                part.closed = True
                part.variables.clear()  # batches that are still referred to hold the part

    def _failed_in(self, part: Part) -> dict[int, Failure]:
        return {cell: self.failures[cell] for cell in part.cells if cell in self.failures}

    def checkpoints_of(self, part: Part) -> Path:
        """The folder of a part's checkpoints."""
        return self.plan.home / "checkpoints" / part.name

    def failures_of(self, part: Part) -> Path:
        """The file of a part's failures."""
        return self.plan.home / "failed" / f"{part.name}.json"
