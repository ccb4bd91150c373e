"""The work of one process: lock parts of a plan, hand out their runs, store what comes back.

Several processes may have the same job at the same time, on one machine or many: each locks one part after another and leaves
alone the parts that another one holds. A part is stored when its last run is done, and its finished runs are stored every few
minutes; what a killed process leaves (finished runs, checkpoints) is taken up by whoever locks the part next. `Queue.run` calls
`execution.execute`, whose threads call back: `take` a batch, then `finished`, `failed`, ... (explained at `execution.Source`).
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..contract import config as config_
from ..contract.config import hashed
from ..contract.request import Plan
from ..errors import UsageError
from ..results import locks, states, store
from ..results.failures import Failure, failure_of, read_failures, record
from ..results.stock import Stock
from . import checkpoints, leftovers, memory, provenance
from .executor import KEPT_BYTES, Batch, Settings, execute
from .part import Ended, OpenPart
from .plan import Part, make_groups, make_parts
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
        self.groups, broken = make_groups(plan, self.wanted.tolist())
        for cell, error in broken.items():
            self.failures[cell] = failure_of(error)
        if broken:
            name = hashed([plan.cells[cell].name for cell in broken])
            self._record(plan.home / "failed" / f"{name}.json", list(broken))
        parts = make_parts(plan, self.groups, tasks)
        have = stock.have.get(plan.digest, np.zeros((len(plan.cells), len(plan.seeds)), bool))
        column = {seed: index for index, seed in enumerate(plan.seeds)}
        lacks = ~have & self.wanted[:, None]
        self.runs_of = {
            part.name: int(lacks[np.ix_(part.cells, [column[seed] for seed in part.seeds])].sum()) for part in parts
        }
        self.unopened = collections.deque(part for part in parts if self.runs_of[part.name])
        self.elsewhere: list[Part] = []
        self.files: dict[str, list[store.Header]] = collections.defaultdict(list)  # by cell
        for file in stock.files:
            if file.digest == plan.digest:
                for cell in file.cells:
                    self.files[cell].append(file)
        self.row_of = [{cell: row for row, cell in enumerate(group.cells)} for group in self.groups]
        self.left = [0] * len(self.groups)  # runs not yet handed out
        for part in self.unopened:
            self.left[part.group] += self.runs_of[part.name]
        self.total = sum(count * group.length for count, group in zip(self.left, self.groups, strict=True))
        self.open: dict[str, OpenPart] = {}
        self.predicting: collections.deque[tuple[OpenPart, np.ndarray]] = collections.deque()
        self.resuming: collections.deque[tuple[OpenPart, checkpoints.Saved | states.Trained, np.ndarray, list[int]]] = (
            collections.deque()
        )
        self.ready: collections.deque[tuple[OpenPart, np.ndarray]] = collections.deque()
        self.again: collections.deque[Batch] = collections.deque()  # halves of batches that raised
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
                if self.stop.is_set() or not self.elsewhere or looked == 2:
                    break
                looked += not wait  # once more before it ends: what was claimed may have been given back
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

    # --- what `execute` asks for, from any thread; each is explained at `execution.Source` ---

    def take(self, size: Callable[[int], int], threads: int) -> Batch | None:
        with self.lock:
            while True:
                if self.again:
                    batch = self.again.popleft()
                    for part, _ in batch.origin:
                        part.in_flight -= 1
                    return self._away(batch)
                if self.predicting:
                    part, rows = self.predicting.popleft()
                    part.in_flight -= 1  # it flew while it waited, so that the part stayed open
                    return self._away(self._batch([(part, rows)], predict=True))
                if self.resuming:
                    part, saved, places, rows = self.resuming.popleft()
                    kept = part.waiting.reshape(-1)[places]  # without runs of cells that have failed since
                    places, rows = places[kept], [row for row, keep in zip(rows, kept, strict=True) if keep]
                    limit = self._share(part, size, threads)
                    if len(rows) > limit:
                        self.resuming.appendleft((part, saved, places[limit:], rows[limit:]))
                    if rows:
                        return self._away(self._batch([(part, places[:limit])])._replace(saved=saved, rows=rows[:limit]))
                elif self.ready:
                    pieces = self._gather(self._share(self.ready[0][0], size, threads))
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
                    part.put(side, places, chosen, ("cell",) if batch.seeds is None else ("cell", "seed"))
                if batch.seeds is None:
                    part.predicted[places] = True
                else:
                    part.simulated.reshape(-1)[places] = True
                part.unstored = True
                part.seconds += seconds * len(places) / len(batch.cells)
        self._landed(batch)

    def checkpoint(self, batch: Batch, begin: int, row: int, leaves: list[np.ndarray]) -> None:
        first = 0
        for part, places in batch.origin:
            runs = [(part.names[place // part.shape[1]], part.part.seeds[place % part.shape[1]]) for place in places.tolist()]
            mine = [leaf[first : first + len(places)] for leaf in leaves]
            try:
                checkpoints.save(self._checkpoints(part.part), runs, begin, row, mine, self.plan.digest)
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
                    self._store_states(part)

    def too_large(self, size: int) -> None:
        with self.lock:
            said, self.said_large = self.said_large, True
        if not said:
            name, limit = self.plan.experiment.name, memory.text(KEPT_BYTES)
            self.say(f"{name}: the trained state of a run has {memory.text(size)} and is not kept; states up to {limit} are")

    def returned(self, batch: Batch) -> None:
        with self.lock:
            first = 0
            for part, places in batch.origin:
                part.in_flight -= 1
                if batch.seeds is None:
                    part.in_flight += 1
                    self.predicting.append((part, places))
                    continue
                part.waiting.reshape(-1)[places] = True
                self.left[batch.group] += len(places)
                if batch.saved is not None and batch.rows is not None:
                    rows = batch.rows[first : first + len(places)]
                    self.resuming.append((part, batch.saved, places, rows))
                else:
                    self.ready.appendleft((part, places))
                first += len(places)

    def unreadable(self, batch: Batch, error: Exception) -> None:
        saved = batch.saved
        assert saved is not None
        with self.lock:
            first = saved.path not in self.unread
            self.unread.add(saved.path)
            others = [waiting for waiting in self.resuming if waiting[1] is saved]
            self.resuming = collections.deque(waiting for waiting in self.resuming if waiting[1] is not saved)
            self.ready.extendleft((part, places) for part, _, places, _ in others)
            if isinstance(saved, checkpoints.Saved):
                self.progress.less(-saved.begin * (len(batch.cells) + sum(len(places) for _, _, places, _ in others)))
        if first and isinstance(saved, checkpoints.Saved):
            checkpoints.set_aside(saved.path)
        if first:
            self.say(f"{saved.path} cannot be read ({str(error).partition(chr(10))[0]}); its runs start again")
        self.returned(batch._replace(saved=None, rows=None))

    def failed(self, batch: Batch, error: Exception) -> None:
        if len(batch.cells) > 1:  # find out which: halves of it, each alone
            with self.lock:
                whole, middle = len(batch.cells), len(batch.cells) // 2
                for first, last in ((0, middle), (middle, whole)):
                    origin, begin = [], 0
                    for part, places in batch.origin:
                        mine = places[max(0, first - begin) : max(0, last - begin)]
                        begin += len(places)
                        if len(mine):
                            origin.append((part, mine))
                            part.in_flight += 1
                    smaller = self._batch(origin, predict=batch.seeds is None)
                    rows = None if batch.rows is None else batch.rows[first:last]
                    self.again.append(smaller._replace(saved=batch.saved, rows=rows))
                for part, _ in batch.origin:
                    part.in_flight -= 1
                self.left[batch.group] += 0 if batch.seeds is None else len(batch.cells)
            return
        part, places = batch.origin[0]
        row = int(places[0]) if batch.seeds is None else int(places[0]) // part.shape[1]
        with self.lock:
            self._fail(part, row, error)
        self._landed(batch)

    def refused(self, batch: Batch, error: Exception) -> None:
        with self.lock:
            while self.unopened and self.unopened[0].group == batch.group and self._open_next():
                pass
            group = [part for part in self.open.values() if part.part.group == batch.group]
            for part in group:
                for row in np.flatnonzero(part.waiting.any(axis=1)):
                    self._fail(part, int(row), error)
            for part, places in batch.origin:
                for row in np.unique(places // part.shape[1]).tolist():
                    self._fail(part, row, error)
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
            names = [self.plan.cells[cell].name for cell in part.cells]
            lock = locks.take(self.plan.home / "locks" / part.name, {"cells": names, "seeds": part.seeds})
            if lock is None:
                self.elsewhere.append(part)
                continue
            opened = OpenPart(part, self.plan, self.groups[part.group], lock)
            try:
                self._take_up(opened)
            except BaseException:
                lock.release(done=False)
                raise
            self.left[part.group] += int(opened.waiting.sum()) - self.runs_of[part.name]
            self.progress.less(work - int(opened.waiting.sum()) * opened.group.length)
            self.runs_of[part.name] = 0
            if not opened.waiting.any():  # somebody else has done it in the meantime
                checkpoints.remove(self._checkpoints(part))
                leftovers.clean(self.plan.home, part.name)
                lock.release(done=True)
                continue
            self.open[part.name] = opened
            return True
        return False

    def _take_up(self, opened: OpenPart) -> None:
        """Read what is on disk of a part: finished runs, checkpoints, failures; and queue the rest."""
        part, cells, seeds = opened.part, set(opened.names), set(opened.part.seeds)
        for cut_off in part.path.parent.glob(f".{part.name}*.tmp") if opened.lock.exclusive else ():
            cut_off.unlink(missing_ok=True)
        known = {file.path for name in opened.names for file in self.files[name]}
        for path in sorted({*known, *(path for path in (part.path, _partial(part)) if path.exists())}):
            block, message = store.read(path)
            if message:
                self.say(message)
            if block is not None:
                opened.take_over(block)
                if path != part.path and cells.issuperset(block.cells) and seeds.issuperset(block.seeds):
                    opened.supersedes.append(path)
        for name, failure in read_failures(self._failures(part), self.plan.digest).items():
            if name in cells:  # another process has met it in the meantime
                self.failures.setdefault(part.cells[opened.names.index(name)], failure)
        wanted = np.asarray([self.wanted[cell] and cell not in self.failures for cell in part.cells])
        opened.waiting[:] = wanted[:, None] & ~opened.simulated
        lacking = np.flatnonzero(~opened.predicted & wanted)
        if lacking.size:
            opened.in_flight += 1
            self.predicting.append((opened, lacking))
        queued = opened.waiting.copy().reshape(-1)
        self._inherit(part)
        self._take_trained(opened, queued)
        saved, messages = checkpoints.find(self._checkpoints(part), tidy=opened.lock.exclusive)
        for message in messages:
            self.say(message)
        runs = itertools.product(opened.names, part.seeds) if saved else ()
        place_of = {run: place for place, run in enumerate(runs)}
        for one in saved:
            rows = [row for row, run in enumerate(one.runs) if run in place_of and queued[place_of[run]]]
            if rows:
                mine = np.asarray([place_of[one.runs[row]] for row in rows])
                queued[mine] = False
                self.resuming.append((opened, one, mine, rows))
                self.progress.less(one.begin * len(rows))
        if queued.any():
            self.ready.append((opened, np.flatnonzero(queued)))

    def _take_trained(self, opened: OpenPart, queued: np.ndarray) -> None:
        """Queue for measuring alone the runs whose trained states are stored, whatever was measured then."""
        group, width = opened.group, opened.shape[1]
        for row, name in enumerate(opened.trainings):
            place_of = {seed: row * width + column for column, seed in enumerate(opened.part.seeds)}
            wanted = [seed for seed, place in place_of.items() if queued[place]]
            for path, seeds, rows in states.find(self.plan.home, name, wanted, self.say) if wanted else ():
                tree, message = store.read_tree(path)
                if message:
                    self.say(message)
                if tree is not None:
                    mine = np.asarray([place_of[seeds[one]] for one in rows])
                    queued[mine] = False
                    saved = states.Trained(path, seeds, group.end, 0 if group.steps is None else len(group.steps))
                    self.resuming.append((opened, saved, mine, rows))
                    self.progress.less(group.length * len(rows))

    def _inherit(self, part: Part) -> None:
        """Take over checkpoints of this part's runs from parts with other cuts of the seeds, unless somebody works on those."""
        runs = {(self.plan.cells[cell].name, seed) for cell in part.cells for seed in part.seeds}
        own = self._checkpoints(part)
        for other in own.parent.glob(f"{part.name.partition('-')[0]}-*") if len(part.cells) == 1 else ():
            held = locks.take(self.plan.home / "locks" / other.name, {}) if other != own else None
            if held is None:
                continue
            for one in checkpoints.find(other, tidy=held.exclusive)[0] if held.exclusive else ():
                if one.digest == self.plan.digest and runs.issuperset(one.runs):
                    own.mkdir(parents=True, exist_ok=True)
                    with contextlib.suppress(OSError):
                        one.path.rename(own / one.path.name)
            with contextlib.suppress(OSError):
                other.rmdir()  # if it is empty now
            held.release(done=not other.exists())

    def _gather(self, limit: int) -> list[tuple[OpenPart, np.ndarray]]:
        """At most `limit` waiting runs of one group, from as many parts as it takes."""
        group, pieces = self.ready[0][0].part.group, []
        while limit > 0:
            if not self.ready and not (self.unopened and self.unopened[0].group == group and self._open_next()):
                break
            if not self.ready:
                continue
            if self.ready[0][0].part.group != group:
                break
            part, places = self.ready.popleft()
            places = places[part.waiting.reshape(-1)[places]]  # without those of cells that have failed since
            if len(places) > limit:
                self.ready.appendleft((part, places[limit:]))
                places = places[:limit]
            if len(places):
                pieces.append((part, places))
                limit -= len(places)
        return pieces

    def _share(self, part: OpenPart, size: Callable[[int], int], threads: int) -> int:
        """Runs of the next batch: what suits the device, and leaves something for the other threads."""
        group = part.part.group
        return max(1, min(size(group), -(-self.left[group] // threads)))

    def _batch(self, pieces: list[tuple[OpenPart, np.ndarray]], predict: bool = False) -> Batch:
        group = pieces[0][0].part.group
        rows = [
            self.row_of[group][part.part.cells[row]]
            for part, places in pieces
            for row in (places if predict else places // part.shape[1]).tolist()
        ]
        seeds = [part.part.seeds[column] for part, places in pieces for column in (places % part.shape[1]).tolist()]
        return Batch(group, np.asarray(rows), None if predict else np.asarray(seeds, np.int64), pieces)

    def _away(self, batch: Batch) -> Batch:
        """Note that a batch is handed out."""
        for part, places in batch.origin:
            part.in_flight += 1
            if batch.seeds is not None:
                part.waiting.reshape(-1)[places] = False
        if batch.seeds is not None:
            self.left[batch.group] -= len(batch.cells)
        config = config_.as_dict(self.groups[batch.group].config)
        self.progress.now(", ".join(f"{path}={config[path]}" for path in self.plan.axes if path in self.static))
        return batch

    def _fail(self, part: OpenPart, row: int, error: Exception) -> None:
        self.failures[part.part.cells[row]] = failure_of(error)
        dropped = int(part.waiting[row].sum())
        for _ in range(len(self.again)):  # halves of batches that hold runs of it
            batch = self.again.popleft()
            origin = []
            for other, places in batch.origin:
                rows = places if batch.seeds is None else places // other.shape[1]
                kept = places[rows != row] if other is part else places
                other.in_flight -= not len(kept)
                origin += [(other, kept)] if len(kept) else []
            if origin:  # a batch from a checkpoint stays whole: its rows are numbered
                whole = batch.rows is not None or sum(len(places) for _, places in origin) == len(batch.cells)
                self.again.append(batch if whole else self._batch(origin, predict=batch.seeds is None))
        part.waiting[row] = False
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
                if not part.in_flight and not part.waiting.any():
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
                block = part.block(self.plan) if part.unstored else None
                part.unstored = False
            self._store_states(part)
            partial = _partial(part.part)
            if block is not None:
                complete = block.stored.shape == part.shape and bool(block.stored.all())
                path = part.part.path if complete else partial
                try:
                    store.write(path, block)
                except BaseException:
                    part.unstored = True
                    raise
                for old in part.supersedes:
                    if old != path:
                        with contextlib.suppress(FileNotFoundError):
                            old.unlink()
                part.supersedes = [partial]
            if final:
                self._record(self._failures(part.part), part.part.cells)
                checkpoints.remove(self._checkpoints(part.part))
                part.closed = True
                part.variables.clear()  # batches that are still referred to hold the part

    def _store_states(self, part: OpenPart) -> None:
        """Write the trained states that a part holds, one file for each cell: a file for each run costs more than its run."""
        with self.lock:
            ended, part.ended = part.ended, []
        try:
            for row in sorted({one.row for one in ended}):
                mine = [one for one in ended if one.row == row]
                seeds = np.concatenate([one.seeds for one in mine])
                order, name = np.argsort(seeds), part.trainings[row]
                leaves = [np.concatenate(parts)[order] for parts in zip(*(one.leaves for one in mine), strict=True)]
                said = provenance.new(self.plan, self.plan.cells[part.part.cells[row]].config, 0.0)
                said |= {"training": name}
                states.save(self.plan.home, name, seeds[order].tolist(), mine[0].shapes, leaves, said)
        except BaseException:
            with self.lock:
                part.ended = ended + part.ended
            raise

    def _record(self, path: Path, cells: list[int]) -> None:
        """Keep the failures among some cells."""
        record(
            path, self.plan.digest, {self.plan.cells[cell].name: self.failures[cell] for cell in cells if cell in self.failures}
        )

    def _checkpoints(self, part: Part) -> Path:
        return self.plan.home / "checkpoints" / part.name

    def _failures(self, part: Part) -> Path:
        return self.plan.home / "failed" / f"{part.name}.json"


def _partial(part: Part) -> Path:
    return part.path.with_suffix(".partial.nc")
