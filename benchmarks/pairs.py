"""Rows that are timed in turn: each right after the first, A B A C ..., in a process for each library.

A ratio is a time over that of A just before. The ratio of process CPU times stands beside it, as wall time suffers from other
load. The process of a library is idle while the other is timed; both may use the same cores.
"""

import importlib.metadata
import importlib.util
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax

from . import goals

Pools = Mapping[str, ProcessPoolExecutor]


class Times(NamedTuple):
    """Of one row, a number a round; of A, a number for each row that it was timed with."""

    seconds: list[float]
    wall: list[float]  # over A's just before; none of A itself
    cpu: list[float]  # the same ratio of CPU times


# in the process of a library


_runs: dict[Hashable, Callable[[], Any]] = {}


def keep(key: Hashable, run: Callable[[], Any]) -> None:
    """What `in_turn` times under this key: it returns when its result is there."""
    _runs[key] = run


def measure(key: Hashable, repeats: int) -> tuple[float, float]:
    """Wall and CPU seconds of a run, after one that is not timed."""
    run = _runs[key]
    run()
    cpu, began = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - began) / repeats, (time.process_time() - cpu) / repeats


def fastest_threads(run: Callable[[], Any], threads: int, rounds: int = 3) -> int:
    """1 or `threads`, whichever lets PyTorch end sooner; tried in turn, as other load comes and goes."""
    import torch  # pyright: ignore[reportMissingImports]

    seconds: dict[int, float] = {}
    for count in rounds * (1, threads):
        torch.set_num_threads(count)
        run()
        began = time.perf_counter()
        run()
        seconds[count] = min(time.perf_counter() - began, seconds.get(count, float("inf")))
    return min(seconds, key=seconds.__getitem__)


def _start(threads: int) -> None:
    if hasattr(os, "sched_setaffinity"):  # before jax counts the cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_compilation_cache", False)


# in the process that compares


def missing(*packages: str) -> str:
    """The line that is said where a peer is not installed; empty where all are."""
    if all(importlib.util.find_spec(name) for name in packages):
        return ""
    return f"{' or '.join(packages)} is not installed, so their rows are missing: closedform[benchmark] brings all."


def machine() -> str:
    load = ", ".join(f"{value:.1f}" for value in goals.machine()["load"])
    return f"{os.cpu_count()} cores, {goals.machine()['vectors']}, load of the last 1, 5, 15 minutes {load or 'unknown'}"


def versions(*packages: str) -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)


@contextmanager
def workers(libraries: Sequence[str], threads: int) -> Iterator[Pools]:
    """A process for each library, on so many cores."""
    context = multiprocessing.get_context("spawn")
    pools = {name: ProcessPoolExecutor(1, context, _start, (threads,)) for name in libraries}
    try:
        yield pools
    finally:
        for pool in pools.values():
            pool.shutdown()


def in_turn(pools: Pools, rows: Sequence[tuple[str, Hashable]], pairs: int, repeats: int) -> list[Times]:
    """Rows of library and key, the first being A; each must have been kept in the process of its library."""
    found = [Times([], [], []) for _ in rows]

    def timed(index: int) -> tuple[float, float]:
        library, key = rows[index]
        wall, cpu = pools[library].submit(measure, key, repeats).result()
        found[index].seconds.append(wall)
        return wall, cpu

    for _ in range(pairs):
        for index in range(1, len(rows)):
            base, other = timed(0), timed(index)
            found[index].wall.append(other[0] / base[0])
            found[index].cpu.append(other[1] / max(base[1], 1e-9))
        if len(rows) == 1:
            timed(0)
    return found


HEAD = f"{'milliseconds':>26}{'time over A':>22}{'CPU over A':>22}"


def columns(times: Times) -> str:
    """What stands below HEAD."""
    milliseconds = spread([1e3 * one for one in times.seconds], ".2f")
    return f"{milliseconds:>26} {spread(times.wall, '.2f'):>21} {spread(times.cpu, '.2f'):>21}"


def spread(values: Sequence[float], spec: str) -> str:
    """Least, median, greatest; nothing of nothing."""
    return " / ".join(format(value, spec) for value in (min(values), statistics.median(values), max(values))) if values else ""
