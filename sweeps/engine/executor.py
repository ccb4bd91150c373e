"""Executing runs: which block goes where, in chunks of steps, with progress, checkpoints and a stop at any time.

Work comes from a *source* (the job of job.py), which hands out batches of runs and takes their results. How they are executed
is decided here: on a CPU one Python thread per core asks for blocks of about a second each (a long run is a block of its own,
thousands of tiny ones share a call); on an accelerator one thread feeds vmapped blocks, sharded over the local devices. One
after the other ("map", the default on a CPU) no number depends on blocks, threads or chunks; side by side ("vmap") numbers are
the same to rounding (see programs.py).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from ..contract import config as config_
from ..contract.experiment import to_float64
from ..contract.precision import precision, wants_float64
from ..errors import UsageError
from ..results import states
from . import checkpoints, memory
from .plan import PART_BYTES, Group, result_bytes
from .programs import Batching, Programs, programs

_BLOCK_SECONDS = 1.0
_CHUNK_SECONDS = 0.5
_THREADS = "closedform"  # what their names begin with
_PATIENCE_SECONDS = 1.0  # after a stop, until it is said what is waited for
_WORTH_SAVING = 5.0  # seconds of work: less than this is computed again faster than it is read back
_MAP_BYTES = 4 << 20  # states and histories of a CPU block: small enough to allocate at once
KEPT_BYTES = 64 << 20  # largest trained state of a run that is stored
_VMAP_BYTES = 1 << 30  # of a vmapped block: a first guess, then the compiler's own count decides
_SHARE = {"cpu": 0.7}  # of the free memory, for all blocks together
_ACCELERATOR_SHARE = 0.9


class Settings(NamedTuple):
    """How to execute; None means that the engine decides."""

    batching: Batching | None = None
    threads: int | None = None
    block: int | None = None  # runs in a block
    chunk: int | None = None  # steps in a chunk
    checkpoint_minutes: float = 5.0  # between two checkpoints of a run, and between two writes of finished runs

    def checked(self) -> Settings:
        """The settings; raises `UsageError` for a value that is not allowed."""
        for name in ("threads", "block", "chunk"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise UsageError(f"{name}: got {value!r}; allowed: a whole number from 1 on")
        if self.batching not in (None, "map", "vmap"):
            raise UsageError(f"batching: got {self.batching!r}; allowed: 'map' or 'vmap'")
        if not self.checkpoint_minutes > 0:
            raise UsageError(f"checkpoint_minutes: got {self.checkpoint_minutes!r}; allowed: a positive number")
        return self


class Batch(NamedTuple):
    """What a thread does next: some runs of one group, or the predictions of some of its cells."""

    group: int
    cells: np.ndarray  # rows in the group's list of cells
    seeds: np.ndarray | None  # None: predictions
    origin: Any  # the source's own note of where the results belong
    saved: checkpoints.Saved | states.Trained | None = None  # go on from there ...
    rows: list[int] | None = None  # ... with these rows of it


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

    def advanced(self, steps: int) -> None:
        """`steps` further steps were done, over all runs."""
        ...

    def waiting(self, what: list[str]) -> None:
        """The work was stopped, and ends when these things have come to an end."""
        ...


class _SourceError(Exception):
    """What the source raised while a batch ran: not the batch's fault."""


class _SavedError(Exception):
    """What reading a checkpoint raised: not the batch's fault either."""


def enable_compilation_cache() -> None:
    """Keep compiled programs between processes, unless the user has set a place for them or wants none."""
    settings = jax.config.values
    if settings["jax_compilation_cache_dir"] is None and settings["jax_enable_compilation_cache"]:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        jax.config.update("jax_compilation_cache_dir", os.path.join(cache, "closedform", "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def execute(
    groups: Sequence[Group], runs: Sequence[int], source: Source, root_seed: int, settings: Settings, stop: threading.Event
) -> None:
    """Do all that `source` hands out; `runs` says how many there are of each group.

    Returns early once `stop` is set, with the runs in progress handed to `source.checkpoint`. An error of a batch is the
    source's to judge; an error of the source (a full disk) ends the work and is raised here.
    """
    batching: Batching = settings.batching or ("map" if jax.default_backend() == "cpu" else "vmap")
    threads = 1 if batching == "vmap" else max(1, min(settings.threads or cores(), sum(runs)))

    room, whole = _Room(threads), sum(count * result_bytes(group) for count, group in zip(runs, groups, strict=True))
    doing: dict[int, tuple[str, float]] = {}  # by thread: what, and since when
    lanes: dict[int, _Lane] = {}
    opening = threading.Lock()

    def lane_of(group: int) -> _Lane:
        with opening:
            if group not in lanes:
                while len(lanes) > threads:  # lanes of groups that are done: their programs are dropped
                    del lanes[next(iter(lanes))]
                lanes[group] = _Lane(groups[group], root_seed, settings, batching, threads, runs[group], whole, room, stop)
            return lanes[group]

    def now(what: str) -> None:
        doing[threading.get_ident()] = what, time.monotonic()

    def worker() -> None:
        try:
            work()
        finally:
            doing.pop(threading.get_ident(), None)

    def work() -> None:
        while not stop.is_set():
            now("opening of the next part")
            batch = source.take(lambda group: lane_of(group).size, threads)
            if batch is None:
                return
            lane, began, alone = lane_of(batch.group), time.monotonic(), True
            now("compilation")
            if batch.seeds is not None and (error := lane.open()) is not None:
                source.refused(batch, error)
                continue
            now(f"block of {len(batch.cells)} {'predictions' if batch.seeds is None else 'runs'}")
            try:
                with room as alone:
                    results = lane.predict(batch) if batch.seeds is None else lane.simulate(batch, source)
            except _SourceError as wrapped:
                raise wrapped.args[0] from None
            except _SavedError as wrapped:
                source.unreadable(batch, wrapped.args[0])
                continue
            except Exception as error:
                if _out_of_memory(error) and lane.shrink(alone):
                    source.returned(batch)
                else:
                    source.failed(batch, error)
                continue
            now("storing")
            if results is not None:
                source.finished(batch, results, time.monotonic() - began)

    with ThreadPoolExecutor(threads, thread_name_prefix=_THREADS) as pool:
        futures = {pool.submit(worker) for _ in range(threads)}
        try:
            while futures:
                done, futures = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        except BaseException:
            stop.set()
            if wait(futures, timeout=_PATIENCE_SECONDS).not_done:
                moment = time.monotonic()
                source.waiting([f"{what} ({moment - since:.0f} s)" for what, since in list(doing.values())])
            raise


def still_running() -> bool:
    """Whether a thread is at work: one that did not end although it was waited for."""
    return any(thread.name.startswith(_THREADS) for thread in threading.enumerate())


class _Pace:
    """How many of something to do at a time so that it takes about the wanted time; grows at most eightfold a time."""

    def __init__(self, size: int):
        self.size = size

    def adapt(self, seconds_each: float, wanted: float) -> None:
        self.size = max(1, min(8 * self.size, int(wanted / max(seconds_each, 1e-9))))


class _Room:
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


class _Lane:
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
        room: _Room,
        stop: threading.Event,
    ):
        self.group, self.settings, self.threads, self.stop = group, settings, threads, stop
        self.batching: Batching = batching
        self.room = room
        self.whole = whole  # bytes of the result of all groups
        each = result_bytes(group)
        self.part = max(each, min(PART_BYTES, count * each))  # bytes of the result of a part, of which there are ...
        self.parts = -(-count * each // self.part)
        self.float64 = wants_float64(group.config)
        self.multiple = len(jax.local_devices()) if batching == "vmap" else 1  # runs of a block come in multiples of this
        self.capacity = self._guess(count)
        self.pace = _Pace(self.capacity if batching == "vmap" else settings.block or 1)
        self.chunk = _Pace(settings.chunk or 1)
        self.root = jax.random.key(root_seed, impl="threefry2x32")
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
            built = programs(
                self.group.experiment, self.group.config, self.group.steps, self.capacity, self.batching, self.group.digest
            )
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
            return self._cpu_block()
        wanted = min(self.settings.block or max(1, _VMAP_BYTES // self._carried()), max(1, count))
        return -(-wanted // self.multiple) * self.multiple

    def _cpu_block(self) -> int:
        return self.settings.block or max(1, min(1024, _MAP_BYTES // self._carried()))

    def _carried(self) -> int:
        experiment, config = self.group.experiment, self.group.config
        rows = 1 if self.group.steps is None else max(1, len(self.group.steps))
        kept = rows * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(self.group.simulated))
        if experiment.drawn:
            state = jax.eval_shape(lambda key: experiment.module.init(key, config), jax.random.key(0))
            kept += sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
        return max(1, kept)

    # --- running ---

    def simulate(self, batch: Batch, source: Source) -> dict[str, Any] | None:
        """Simulation, and predictions that are conditional on the draw, run by run; None if stopped on the way."""
        built = self.programs
        assert batch.seeds is not None
        if built is None or len(batch.cells) > self.capacity:  # blocks were made smaller while the batch was on its way
            source.returned(batch)
            return None
        capacity, began = jax.tree.leaves(built.blank)[0].shape[0], time.monotonic()
        count, steps = np.int32(len(batch.cells)), 0
        floats, wide = (self.floats(batch.cells, capacity, dtype) for dtype in (self.dtype, np.float64))
        state = built.start(count, self.root, _padded(batch.seeds.astype(np.uint32), capacity), floats)
        sides: dict[str, Any] = {}

        def predict(drawn: Any) -> None:
            with precision(True):
                drawn = to_float64(drawn)
            for name, program in built.predictions.items():
                sides[name] = jax.device_get(program(count, drawn, wide))

        if not self.group.experiment.training:
            predict(state.state if built.advance else state)
        if built.advance:
            state, steps = self._advance(built, state, batch, floats, source)
            if state is None:
                return None
        else:
            source.advanced(len(batch.cells))
            steps = 1
        if self.group.experiment.training:
            if steps:
                self._keep(state, batch, source)
            predict(state.state)
            if self.group.experiment.curves:
                sides["curves"] = jax.device_get(state.history)
        if built.finish:
            state = built.finish(count, state, floats)
        elif built.advance:
            state = state.history
        sides["simulation"] = jax.device_get(state)
        if self.settings.block is None and self.batching == "map" and steps == self.group.length:
            self.pace.adapt((time.monotonic() - began) / len(batch.cells), _BLOCK_SECONDS)
        return {side: jax.tree.map(lambda leaf: leaf[: len(batch.cells)], result) for side, result in sides.items()}

    def _keep(self, carry: Any, batch: Batch, source: Source) -> None:
        """Hand over the trained states, if they are small enough to be kept."""
        leaves, count = checkpoints.plain_leaves(carry), len(batch.cells)
        each = sum(leaf.nbytes for leaf in leaves) // len(leaves[0])
        if each > KEPT_BYTES:
            source.too_large(each)
        else:
            source.trained(batch, carry, [leaf[:count] for leaf in leaves])

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Unconditional predictions of some cells, in float64 on the CPU; at most `capacity` cells a call."""
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            capacity = self._cpu_block()
            built = programs(
                self.group.experiment, self.group.config, self.group.steps, capacity, "map", self.group.digest
            ).unconditional
            pieces = []
            for begin in range(0, len(batch.cells), capacity):
                cells = batch.cells[begin : begin + capacity]
                floats = self.floats(cells, capacity, np.float64)
                pieces.append({name: jax.device_get(one(np.int32(len(cells)), floats)) for name, one in built.items()})
        joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)
        return jax.tree.map(lambda leaf: leaf[: len(batch.cells)], joined)

    def _advance(
        self, built: Programs, carry: Any, batch: Batch, floats: dict[str, np.ndarray], source: Source
    ) -> tuple[Any, int]:
        """The carry after the last step (None if stopped on the way), and how many steps were done here."""
        steps, count = self.group.steps, len(batch.cells)
        assert steps is not None
        assert built.advance is not None
        begin, row, end = 0, 0, self.group.end
        if batch.saved is not None and batch.rows is not None:
            begin, row = batch.saved.begin, batch.saved.row
            load = states.load if isinstance(batch.saved, states.Trained) else checkpoints.load
            try:
                with precision(self.float64):
                    carry = load(batch.saved, batch.rows, len(carry.alive), carry)  # type: ignore[arg-type]
            except Exception as error:
                if _out_of_memory(error):
                    raise
                raise _SavedError(error) from error
        first, saved = begin, time.monotonic()
        interval = 60 * self.settings.checkpoint_minutes
        while row < len(steps) or begin < end:
            stopping = self.stop.is_set()
            if time.monotonic() - saved >= (min(_WORTH_SAVING, interval) if stopping else interval):
                leaves = [leaf[:count] for leaf in checkpoints.plain_leaves(carry)]
                try:
                    source.checkpoint(batch, begin, row, leaves)
                except Exception as error:
                    raise _SourceError(error) from error
                saved = time.monotonic()
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
            source.advanced((until - begin) * count)
            begin, row = until, row_end
            if not np.asarray(carry.alive)[:count].any():  # every run of the block has diverged
                source.advanced((end - begin) * count)
                break
        return carry, end - first

    @property
    def dtype(self) -> Any:
        return np.float64 if self.float64 else np.float32

    def floats(self, cells: np.ndarray, capacity: int, dtype: Any) -> dict[str, np.ndarray]:
        return {path: _padded(column[cells].astype(dtype), capacity) for path, column in self.table.items()}


def _padded(values: np.ndarray, capacity: int) -> np.ndarray:
    return np.concatenate([values, np.broadcast_to(values[:1], capacity - len(values))])


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error)


def cores() -> int:
    """Cores that this process may use: its affinity, and what Slurm has given to the task."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(available, int(granted)) if granted.isdigit() and int(granted) > 0 else available
