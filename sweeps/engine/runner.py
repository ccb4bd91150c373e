"""One group on this backend: its programs, how many runs they take at a time, and how a block of runs goes through them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from .. import memory
from ..contract import config as config_
from ..contract.groups import Group
from ..contract.precision import KEYS, precision, wants_float64
from ..contract.tracing import to_float64
from ..errors import UsageError
from ..results import states
from . import checkpoints
from .batches import KEPT_BYTES, Batch, Settings
from .plan import PART_BYTES
from .programs import Batching, Programs, first_of, padded, programs

if TYPE_CHECKING:
    from .queue import Queue

_BLOCK_SECONDS = 1.0

_CHUNK_SECONDS = 0.5

_WORTH_SAVING = 5.0  # seconds of work: less than this is computed again faster than it is read back

_MAP_BYTES = 4 << 20  # states and histories of a CPU block: small enough to allocate at once

_VMAP_BYTES = 1 << 30  # of a vmapped block: a first guess, then the compiler's own count decides

_SHARE = {"cpu": 0.7}  # of the free memory, for all blocks together

_ACCELERATOR_SHARE = 0.9


class _Pace:
    """How many of something to do at a time so that it takes about the wanted time; grows at most eightfold a time."""

    def __init__(self, size: int):
        self.size = size

    def adapt(self, seconds_each: float, wanted: float) -> None:
        self.size = max(1, min(8 * self.size, int(wanted / max(seconds_each, 1e-9))))


class Room:
    """Admits at most `limit` threads, one for each block that fits into the memory together with the others."""

    def __init__(self, limit: int):
        self.limit, self.inside, self._changed = limit, 0, threading.Condition()
        self._narrow = False

    def set(self, limit: int) -> None:
        """A new limit, whether or not more threads are inside at this moment."""
        with self._changed:
            self.limit = 1 if self._narrow else limit
            self._changed.notify_all()

    def one_at_a_time(self) -> None:
        """Admit one thread at a time from now on, whatever limit is set later."""
        with self._changed:
            self._narrow, self.limit = True, 1

    def __enter__(self) -> bool:
        """Whether no other thread can be inside at the same time (because memory has run out before)."""
        with self._changed:
            self._changed.wait_for(lambda: self.inside < self.limit)
            self.inside += 1
            return self._narrow

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self.inside -= 1
            self._changed.notify_all()


class Runner:
    """One group on this backend: its programs, and how many runs they take at a time."""

    def __init__(
        self,
        group: Group,
        root_seed: int,
        settings: Settings,
        batching: Batching,
        threads: int,
        count: int,
        whole: int,
        room: Room,
        stop: threading.Event,
    ):
        self.group, self.settings, self.threads, self.stop = group, settings, threads, stop
        self.batching: Batching = batching
        self.room = room
        self.whole = whole  # bytes of the result of all groups
        each = group.result_bytes()
        self.part = max(each, min(PART_BYTES, count * each))  # bytes of the result of a part, of which there are ...
        self.parts = -(-count * each // self.part)
        self.float64 = wants_float64(group.config)
        # runs of a block come in multiples of this
        self.multiple = len(jax.local_devices()) if batching == "vmap" else group.traced().lanes
        self.capacity = self._guess(count)
        self.pace = _Pace(self.capacity if batching == "vmap" else settings.block or self.multiple)
        self.chunk = _Pace(settings.chunk or 1)
        self.root = jax.random.key(root_seed, impl=KEYS)
        rows = [config_.traced_values(config) for config in group.configs]
        self.table = {path: np.asarray([row[path] for row in rows]) for path in rows[0]}
        self.programs: Programs | None = None
        self._lock = threading.Lock()
        self._broken: Exception | None = None

    @property
    def size(self) -> int:
        """Runs of the next block."""
        return min(self.pace.size, self.capacity)

    # --- compiling, and what fits ---

    def open(self) -> Exception | None:
        """Compile, once; the error if the group cannot be run."""
        with self._lock:
            if self.programs is None and self._broken is None:
                try:
                    self._compile()
                except Exception as error:
                    self._broken = error
            return self._broken

    def shrink(self, alone: bool) -> bool:
        """Run fewer at a time from now on, after a block that did not fit; False if the block was one run and alone."""
        with self._lock:
            if self.capacity > self.multiple:
                self.capacity = max(self.multiple, self.capacity // 2 // self.multiple * self.multiple)
                self.programs = None
                return True
            self.room.one_at_a_time()
            return not alone

    def _compile(self) -> None:
        """Programs for as many runs as fit: the compiler's count of bytes against the free memory."""
        devices, multiple = jax.local_devices(), self.multiple
        while True:
            built = programs(self.group, self.capacity, self.batching)
            compiled = built.of_runs()
            with ThreadPoolExecutor(len(compiled)) as pool:  # XLA compiles outside Python's lock
                for future in [pool.submit(program.compile) for program in compiled]:
                    future.result()
            needed = max(program.bytes_needed() for program in compiled)
            free = min(memory.free_bytes(device) for device in devices)
            usable = int(free * _SHARE.get(devices[0].platform, _ACCELERATOR_SHARE))
            fitting = self._threads_that_fit(needed, usable, devices[0].platform == "cpu")
            smallest = self.capacity == multiple or needed * self.threads <= usable  # smaller blocks would make no more room
            if fitting == self.threads or (fitting and smallest):
                break
            if self.capacity == multiple:
                storing = memory.to_handle(self.part)
                beside = f" and {memory.text(storing)} to store" if storing else ""
                raise UsageError(
                    f"{self.group.experiment.name}: {multiple} run{'s' if multiple > 1 else ''} at a time need"
                    f"{'s' if multiple == 1 else ''} {memory.text(needed)}{beside}; {memory.text(usable)} of memory can be used"
                )
            fewer = int(self.capacity * usable / (needed * self.threads) * 0.9)
            self.capacity = max(multiple, min(fewer, self.capacity // 2) // multiple * multiple)
        if not self.group.unchanged():
            name = self.group.experiment.name
            raise UsageError(f"{name}: an array that its code uses was changed in place while it was compiled; run it again")
        self.room.set(fitting)
        self.programs = built

    def _threads_that_fit(self, needed: int, usable: int, shared: bool) -> int:
        """How many blocks can run at a time, beside the storing of their results where these share the programs' memory."""
        if not shared:
            return min(self.threads, usable // max(1, needed))
        if (assembling := memory.to_handle(self.whole)) > usable:
            raise UsageError(
                f"{self.group.experiment.name}: a result of {memory.text(self.whole)} takes {memory.text(assembling)} to "
                f"assemble; {memory.text(usable)} of memory can be used"
            )
        each = [needed * n + memory.to_handle(self.part * min(n, self.parts)) for n in range(1, self.threads + 1)]
        return sum(bytes_ <= usable for bytes_ in each)

    def _guess(self, count: int) -> int:
        """Runs of a block by the size of what they carry; how many a program for the CPU holds must not depend on `count`."""
        if self.batching == "map":
            wanted = self.settings.block or max(1, min(1024, _MAP_BYTES // self._carried()))
        else:
            wanted = min(self.settings.block or max(1, _VMAP_BYTES // self._carried()), max(1, count))
        return -(-wanted // self.multiple) * self.multiple

    def _carried(self) -> int:
        functions = self.group.traced().functions
        rows = 1 if self.group.steps is None else max(1, len(self.group.steps))
        kept = rows * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(self.group.simulated))
        if "init" in functions:
            kept += sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(functions["init"].out))
        return max(1, kept)

    # --- running ---

    def simulate(self, batch: Batch, queue: Queue) -> dict[str, Any] | None:
        """Simulation, and predictions that are conditional on the draw, run by run; None if stopped on the way."""
        built = self.programs
        assert batch.seeds is not None
        if built is None or len(batch.cells) > self.capacity:  # blocks were made smaller while the batch was on its way
            queue.returned(batch)
            return None
        capacity, began = jax.tree.leaves(built.blank)[0].shape[0], time.monotonic()
        count, steps = np.int32(len(batch.cells)), 0
        floats, wide = (self.floats(batch.cells, capacity, dtype) for dtype in (self.dtype, np.float64))
        state = built.start(count, self.root, padded(batch.seeds.astype(np.uint32), capacity), floats)
        sides: dict[str, Any] = {}

        def predict(drawn: Any) -> None:
            with precision(True):
                drawn = to_float64(drawn)
            for program in built.predictions:
                sides.update(jax.device_get(program(count, drawn, wide)))

        if not self.group.experiment.training:
            predict(state.state if built.advance else state)
        if batch.what == "predict":
            return first_of(sides, len(batch.cells))
        if built.advance:
            state, steps = self._advance(built, state, batch, floats, queue)
            if state is None:
                return None
        else:
            steps = 1
        if self.group.experiment.training:
            if steps:
                self._keep(state, batch, queue)
            predict(state.state)
            if self.group.experiment.curves:
                sides["curves"] = jax.device_get(state.history)
        if built.finish:
            state = built.finish(count, state, floats)
        elif built.advance:
            state = state.history
        sides["simulation"] = jax.device_get(state)
        if not built.advance:
            queue.advanced(len(batch.cells))
        if self.settings.block is None and self.batching == "map" and steps == self.group.length:
            self.pace.adapt((time.monotonic() - began) / len(batch.cells), _BLOCK_SECONDS)
        return first_of(sides, len(batch.cells))

    def _keep(self, carry: Any, batch: Batch, queue: Queue) -> None:
        """Hand over the trained states, if they are small enough to be kept."""
        leaves, count = checkpoints.plain_leaves(carry), len(batch.cells)
        each = sum(leaf.nbytes for leaf in leaves) // len(leaves[0])
        if each > KEPT_BYTES:
            queue.too_large(each)
        else:
            queue.trained(batch, carry, [leaf[:count] for leaf in leaves])

    def _advance(
        self, built: Programs, carry: Any, batch: Batch, floats: dict[str, np.ndarray], queue: Queue
    ) -> tuple[Any, int]:
        """The carry after the last step (None if stopped on the way, or not to be read), and how many steps were done here."""
        steps, count = self.group.steps, len(batch.cells)
        assert steps is not None
        assert built.advance is not None
        begin, row, end = 0, 0, self.group.end
        saved, rows = batch.items[0].saved, batch.items[0].rows
        if saved is not None and rows is not None:
            begin, row = saved.begin, saved.row
            load: Any = states.load if isinstance(saved, states.Trained) else checkpoints.load
            try:
                with precision(self.float64):
                    carry = load(saved, rows.tolist(), len(carry.alive), carry)
            except Exception as error:
                if out_of_memory(error):
                    raise
                queue.unreadable(batch, error)
                return None, 0
        first, kept = begin, time.monotonic()
        interval = 60 * self.settings.checkpoint_minutes
        while row < len(steps) or begin < end:
            stopping = self.stop.is_set()
            if time.monotonic() - kept >= (min(_WORTH_SAVING, interval) if stopping else interval):
                queue.checkpoint(batch, begin, row, [leaf[:count] for leaf in checkpoints.plain_leaves(carry)])
                kept = time.monotonic()
            if stopping:
                return None, begin - first
            until = min(end, begin + self.chunk.size)
            row_end = int(np.searchsorted(steps, until, side="right"))
            began = time.monotonic()
            chunk = (np.int32(value) for value in (begin, until, row, row_end))
            carry = built.advance(carry, np.int32(count), floats, steps.astype(np.int32), *chunk)
            jax.block_until_ready(carry)
            if self.settings.chunk is None:
                self.chunk.adapt((time.monotonic() - began) / max(1, until - begin), _CHUNK_SECONDS)
            queue.advanced((until - begin) * count)
            begin, row = until, row_end
            if not np.asarray(carry.alive)[:count].any():  # every run of the block has diverged
                queue.advanced((end - begin) * count)
                break
        return carry, end - first

    @property
    def dtype(self) -> Any:
        return np.float64 if self.float64 else np.float32

    def floats(self, cells: np.ndarray, capacity: int, dtype: Any) -> dict[str, np.ndarray]:
        return {path: padded(column[cells].astype(dtype), capacity) for path, column in self.table.items()}


def out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error)
