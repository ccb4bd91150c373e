"""Executing runs: which block goes where, in chunks of steps, with progress, stop and per-run results as they finish.

The caller never chooses how: on a CPU one Python thread per core pulls blocks from one queue, each block sized so that it
takes about a second (a long run is a block of its own, thousands of tiny ones share a call); on an accelerator one thread
feeds vmapped blocks. No number depends on any of it.
"""

from __future__ import annotations

import collections
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import config as config_
from .experiment import Experiment, to_float64
from .programs import Batching, Programs, programs, run_sharding

_BLOCK_SECONDS = 1.0
_CHUNK_SECONDS = 0.5
_MAP_BYTES = 4 << 20  # states and histories of a CPU block: few enough to allocate at once without a thought
_VMAP_BYTES = 1 << 30


class Run(NamedTuple):
    cell: int
    seed: int


class Group(NamedTuple):
    """Cells that one set of programs serves: equal static fields and recorded steps; they differ in traced floats."""

    experiment: Experiment
    configs: dict[int, Any]  # {cell: config}
    steps: np.ndarray | None
    shapes: Any  # of one run's Result, one step of it

    @property
    def config(self) -> Any:
        return next(iter(self.configs.values()))

    @property
    def length(self) -> int:
        """Work of one run, in steps (one shot counts as one)."""
        return 1 if self.steps is None else int(self.steps[-1])


class Settings(NamedTuple):
    """How to execute; None means that the engine decides."""

    batching: Batching | None = None
    threads: int | None = None
    block: int | None = None  # runs in a block
    chunk: int | None = None  # steps in a chunk


Finished = Callable[[Run, dict[str, Any]], None]


def wants_float64(config: Any) -> bool:
    """Simulations are float32 unless the Config has a field `dtype` that says "float64"."""
    return getattr(config, "dtype", "float32") == "float64"


@contextlib.contextmanager
def precision(float64: bool) -> Iterator[None]:
    """Thread-local precision: float64 or not, and products in the full precision of their type."""
    with jax.enable_x64(float64), jax.default_matmul_precision("highest"):
        yield


def enable_compilation_cache() -> None:
    """Keep compiled programs between processes, unless the user has set a place for them or wants none."""
    settings = jax.config.values
    if settings["jax_compilation_cache_dir"] is None and settings["jax_enable_compilation_cache"]:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        jax.config.update("jax_compilation_cache_dir", os.path.join(cache, "closedform", "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def execute(
    group: Group,
    runs: Sequence[Run],
    root_seed: int,
    settings: Settings,
    finished: Finished,
    advanced: Callable[[int], None],
    stop: threading.Event,
) -> None:
    """Do all `runs` of a group; `finished(run, {"simulation": Result, ...})` and `advanced(steps)` come from any thread.

    Returns early, with the finished runs reported, once `stop` is set. The first error of a block ends the others and is
    raised here.
    """
    batching: Batching = settings.batching or ("map" if jax.default_backend() == "cpu" else "vmap")
    threads = 1 if batching == "vmap" else settings.threads or _cores()
    capacity = _capacity(group, len(runs), batching, settings.block)
    with precision(wants_float64(group.config)):
        work = _Work(group, programs_of(group, capacity, batching), capacity, batching, root_seed, settings, advanced, stop)
    queue, lock = collections.deque(runs), threading.Lock()
    pace = _Pace(settings.block or capacity if batching == "vmap" or settings.block else 1)

    def worker() -> None:
        while not stop.is_set():
            with lock:
                size = min(pace.size, capacity, -(-len(queue) // threads))
                block = [queue.popleft() for _ in range(size)]
            if not block:
                return
            began = time.perf_counter()
            for run, results in zip(block, work.do(block), strict=False):
                finished(run, results)
            if settings.block is None and batching == "map":
                pace.adapt((time.perf_counter() - began) / len(block), _BLOCK_SECONDS)

    workers = max(1, min(threads, len(runs)))
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(worker) for _ in range(workers)}
        try:
            while futures:
                done, futures = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        except BaseException:
            stop.set()
            raise


def programs_of(group: Group, capacity: int, batching: Batching) -> Programs:
    """The programs of a group, in the precision of the calling context."""
    return programs(group.experiment, group.config, group.steps, capacity, batching)


class _Pace:
    """How many of something to do at a time so that it takes about the wanted time; grows at most eightfold a time."""

    def __init__(self, size: int):
        self.size = size

    def adapt(self, seconds_each: float, wanted: float) -> None:
        self.size = max(1, min(8 * self.size, int(wanted / max(seconds_each, 1e-9))))


class _Work:
    """One group's blocks: inputs assembled, programs called, outputs split into runs."""

    def __init__(
        self,
        group: Group,
        programs: Programs,
        capacity: int,
        batching: Batching,
        root_seed: int,
        settings: Settings,
        advanced: Callable[[int], None],
        stop: threading.Event,
    ):
        self.group, self.programs, self.capacity = group, programs, capacity
        self.sharding = run_sharding() if batching == "vmap" else None
        self.advanced, self.stop = advanced, stop
        self.float64 = wants_float64(group.config)
        self.chunk = _Pace(settings.chunk or 1)
        self.fixed_chunk = settings.chunk is not None
        self.root = jax.random.key(root_seed, impl="threefry2x32")
        self.tables = {wide: _table(group.configs, wide) for wide in {self.float64, True}}
        self.row_of = {cell: row for row, cell in enumerate(group.configs)}

    def floats(self, block: Sequence[Run], float64: bool) -> dict[str, jax.Array]:
        rows = np.asarray([self.row_of[run.cell] for run in self.padded(block)])
        return {path: self.place(column[rows]) for path, column in self.tables[float64].items()}

    def padded(self, block: Sequence[Run]) -> list[Run]:
        return [*block, *[block[0]] * (self.capacity - len(block))]

    def place(self, leaf: Any) -> Any:
        return leaf if self.sharding is None else jax.device_put(leaf, self.sharding)

    def do(self, block: Sequence[Run]) -> list[dict[str, Any]]:
        """Results of each run of the block, or of none if stopped on the way."""
        count = np.int32(len(block))
        seeds = np.asarray([run.seed for run in self.padded(block)], np.uint32)
        conditional: dict[str, Any] = {}
        with precision(self.float64):
            floats = self.floats(block, self.float64)
            state = self.programs.start(count, self.root, self.place(seeds), floats)
        if self.programs.predictions:
            drawn = state.state if self.programs.advance else state
            with precision(True):
                wide, wide_floats = to_float64(drawn), self.floats(block, True)
                for name, program in self.programs.predictions.items():
                    conditional[name] = jax.device_get(program(count, wide, wide_floats))
        with precision(self.float64):
            if self.programs.advance:
                state = self._advance(state, count, floats)
                if state is None:
                    return []
                simulated = state.history
            elif self.programs.finish:
                simulated = self.programs.finish(count, state, floats)
            else:
                simulated = state
            simulated = jax.device_get(simulated)
        if not self.programs.advance:
            self.advanced(len(block))
        sides = {"simulation": simulated, **conditional}
        return [
            {side: jax.tree.map(lambda leaf, i=index: leaf[i], result) for side, result in sides.items()}
            for index in range(len(block))
        ]

    def _advance(self, carry: Any, count: np.int32, floats: Any) -> Any:
        steps = self.group.steps
        assert steps is not None
        assert self.programs.advance is not None
        begin, row, end = 0, 0, int(steps[-1])
        while row < len(steps):
            if self.stop.is_set():
                return None
            until = min(end, begin + self.chunk.size)
            row_end = int(np.searchsorted(steps, until, side="right"))
            began = time.perf_counter()
            chunk = (np.int32(value) for value in (begin, until, row, row_end))
            carry = self.programs.advance(carry, count, floats, steps.astype(np.int32), *chunk)
            jax.block_until_ready(carry)
            if not self.fixed_chunk:
                self.chunk.adapt((time.perf_counter() - began) / max(1, until - begin), _CHUNK_SECONDS)
            self.advanced((until - begin) * int(count))
            begin, row = until, row_end
        return carry


def predict_cells(group: Group) -> dict[int, dict[str, Any]]:
    """Unconditional predictions, `{cell: {"prediction": Result, ...}}`, in float64 on the CPU."""
    if group.experiment.conditional or not group.experiment.predictions:
        return {cell: {} for cell in group.configs}
    with precision(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        built = programs_of(group, 1, "map")
        table = _table(group.configs, True)
        return {
            cell: {
                name: jax.tree.map(
                    lambda leaf: leaf[0],
                    jax.device_get(program(np.int32(1), {path: column[row : row + 1] for path, column in table.items()})),
                )
                for name, program in built.unconditional.items()
            }
            for row, cell in enumerate(group.configs)
        }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _capacity(group: Group, count: int, batching: Batching, block: int | None) -> int:
    if batching == "map":
        return block or max(1, min(1024, _MAP_BYTES // _run_bytes(group)))
    devices = len(jax.local_devices())
    wanted = min(block or max(1, _VMAP_BYTES // _run_bytes(group)), count)
    return -(-wanted // devices) * devices


def _run_bytes(group: Group) -> int:
    module, config = group.experiment.module, group.config
    rows = 1 if group.steps is None else len(group.steps)
    kept = rows * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(group.shapes))
    if group.experiment.drawn:
        state = jax.eval_shape(lambda key: module.init(key, config), jax.random.key(0))
        kept += sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    return max(1, kept)


def _table(configs: dict[int, Any], float64: bool) -> dict[str, jax.Array]:
    """Traced floats by path, one row a cell; weakly typed, so that they follow the arrays they meet."""
    rows = [config_.traced_values(config) for config in configs.values()]
    with jax.enable_x64(float64):
        return {path: jnp.stack([jnp.asarray(row[path]) for row in rows]) for path in rows[0]}
