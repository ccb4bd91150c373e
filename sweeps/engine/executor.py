"""Executing runs: which block goes where, in chunks of steps, with progress, checkpoints and a stop at any time.

The queue (queue.py) hands out batches of runs and takes their results. How they are executed is decided here: on a CPU one
Python thread per core asks for blocks of about a second each (a long run is a block of its own, thousands of tiny ones share a
call); on an accelerator one thread feeds vmapped blocks, sharded over the local devices. One after the other ("map", the
default on a CPU) no number depends on blocks, threads or chunks; side by side ("vmap") numbers are the same to rounding (see
programs.py).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import jax

from ..contract.precision import environment
from ..errors import UsageError
from .batches import Settings
from .predictions import of_cells
from .programs import Batching
from .provenance import cores
from .runner import Room, Runner, out_of_memory

if TYPE_CHECKING:
    from threadpoolctl import threadpool_limits

    from .queue import Queue

_THREADS = "closedform"  # what their names begin with
_PATIENCE_SECONDS = 1.0  # after a stop, until it is said what is waited for


def enable_compilation_cache() -> None:
    """Keep compiled programs between processes, unless the user has set a place for them or wants none."""
    settings = jax.config.values
    if settings["jax_compilation_cache_dir"] is None and settings["jax_enable_compilation_cache"]:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        jax.config.update("jax_compilation_cache_dir", os.path.join(cache, "closedform", "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def execute(queue: Queue, settings: Settings) -> None:
    """Do all that `queue` hands out.

    Returns early once `queue.stop` is set, with the runs in progress handed to `queue.checkpoint`. An error of a batch is the
    queue's to judge; an error of the queue (a full disk) ends the work and is raised here.
    """
    groups, runs, stop = queue.groups, queue.left(), queue.stop
    batching: Batching = settings.batching or ("map" if jax.default_backend() == "cpu" else "vmap")
    threads = 1 if batching == "vmap" else max(1, min(settings.threads or cores(), sum(runs)))

    room, whole = Room(threads), sum(count * group.result_bytes() for count, group in zip(runs, groups, strict=True))
    doing: dict[int, tuple[str, float]] = {}  # by thread: what, and since when
    runners: dict[int, Runner] = {}
    opening = threading.Lock()

    def runner_of(group: int) -> Runner:
        with opening:
            if group not in runners:
                while len(runners) > threads:  # runners of groups that are done: their programs are dropped
                    del runners[next(iter(runners))]
                runners[group] = Runner(
                    groups[group], queue.plan.root_seed, settings, batching, threads, runs[group], whole, room, stop
                )
            return runners[group]

    blas = _OneBlasThread()

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
            batch = queue.take(lambda group: runner_of(group).size, threads)
            if batch is None:
                return
            runner, began, alone = runner_of(batch.group), time.monotonic(), True
            now("compilation")
            if batch.seeds is not None and (error := runner.open()) is not None:
                queue.refused(batch, error)
                continue
            blas.limit()
            now(f"block of {len(batch.cells)} {'predictions' if batch.seeds is None else 'runs'}")
            queue.running()
            try:
                with room as alone:
                    results = of_cells(runner.group, batch.cells) if batch.seeds is None else runner.simulate(batch, queue)
            except UsageError:  # of the queue, such as a full disk: it ends the work
                raise
            except Exception as error:
                if out_of_memory(error) and runner.shrink(alone):
                    queue.returned(batch)
                else:
                    queue.failed(batch, error)
                continue
            now("storing")
            if results is not None:
                queue.finished(batch, results, time.monotonic() - began)

    with blas, ThreadPoolExecutor(threads, thread_name_prefix=_THREADS) as pool:
        futures = {pool.submit(environment()(worker)) for _ in range(threads)}
        try:
            while futures:
                done, futures = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        except BaseException:
            stop.set()
            if wait(futures, timeout=_PATIENCE_SECONDS).not_done:
                moment = time.monotonic()
                queue.waiting([f"{what} ({moment - since:.0f} s)" for what, since in list(doing.values())])
            raise


class _OneBlasThread(AbstractContextManager):
    """Of SciPy's OpenBLAS, the LAPACK that jax calls on CPUs: its threads, one a core, wait for one another by spinning.

    Where each core has a block of its own already, a Newton step with 200 unknowns then takes 50 times as long, and its last
    bits depend on the number of cores. Programs without LAPACK load no SciPy, whose import takes longer than a small sweep.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._limits: threadpool_limits | None = None

    def limit(self) -> None:
        """Once a program that is compiled has loaded the library."""
        with self._lock:
            if self._limits is None and "scipy.linalg" in sys.modules:
                from threadpoolctl import threadpool_limits

                self._limits = threadpool_limits(1, "blas")

    def __exit__(self, *_: object) -> None:
        if self._limits is not None:
            self._limits.restore_original_limits()


def still_running() -> bool:
    """Whether a thread is at work: one that did not end although it was waited for."""
    return any(thread.name.startswith(_THREADS) for thread in threading.enumerate())
