"""How the cost of a sweep grows: with the number of seeds, with the length of a chunk, with devices and threads.

    python -m closedform.benchmarks.sweep_scaling

Trains the two-layer ReLU network on XOR as benchmarks/xor_sweep.py does. Times are of whole runs, result file included, after
one run that compiles. Rows that are compared alternate, A B A B; a ratio is given as min/median/max over the rounds. The last
table starts a process for each row: the number of host devices is fixed when JAX starts.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import tyro

from .. import sweeps
from ..experiments.xor import _training
from . import xor_sweep


@dataclass(frozen=True)
class Config:
    rounds: int = 5  # repetitions; the median counts
    seeds: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
    seed_steps: int = 100  # steps of a run in the table over seeds
    chunks: tuple[int, ...] = (1, 10, 100, 1000)
    chunk_steps: int = 2000  # steps of a run in the table over chunks (8 seeds)
    devices: tuple[int, ...] = (1, 2, 4)
    threads: tuple[int, ...] = (1, 2)
    device_seeds: int = 32
    device_steps: int = 200
    tables: tuple[str, ...] = ("seeds", "chunks", "devices")


def timed(
    seeds: int,
    steps: int,
    settings: sweeps.Settings = sweeps.Settings(),  # noqa: B008
    config: xor_sweep.Config = xor_sweep.Config(),  # noqa: B008
) -> float:
    """Seconds of one run of the engine from an empty results folder."""
    training = _training.Config(config.model, config.batch_size, config.learning_rate, steps)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        sweeps.run(xor_sweep.EXPERIMENT, training, seeds=seeds, results=folder, progress=False, settings=settings)
        return time.perf_counter() - began


def alternated(rows: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each row once to compile, then all in turn, `rounds` times."""
    for row in rows.values():
        row()
    times: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, row in rows.items():
            times[name].append(row())
    return times


def spread(values: Sequence[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{low:.{digits}f} / {middle:.{digits}f} / {high:.{digits}f}"


def over_seeds(config: Config) -> None:
    print(f"seeds ({config.seed_steps} steps each): microseconds per seed and step, min / median / max")
    rows = {str(n): (lambda n=n: timed(n, config.seed_steps)) for n in config.seeds}
    for name, seconds in alternated(rows, config.rounds).items():
        print(f"{name:>8}  {spread([1e6 * s / (int(name) * config.seed_steps) for s in seconds], 1)}")


def over_chunks(config: Config) -> None:
    steps, seeds = config.chunk_steps, 8
    print(f"\nchunks ({seeds} seeds, {steps} steps): time over that of one chunk, min / median / max")
    rows: dict[str, Callable[[], float]] = {"one": lambda: timed(seeds, steps, sweeps.Settings(chunk=steps))}
    rows |= {str(n): (lambda n=n: timed(seeds, steps, sweeps.Settings(chunk=n))) for n in config.chunks if n < steps}
    rows["engine's"] = lambda: timed(seeds, steps)
    bare = xor_sweep.prepare_bare(xor_sweep.Config(steps=steps), seeds, steps)

    def long_scan() -> float:
        began = time.perf_counter()
        bare()
        return time.perf_counter() - began

    rows["no engine"] = long_scan
    times = alternated(rows, config.rounds)
    for name, seconds in times.items():
        print(f"{name:>10}  {spread([a / b for a, b in zip(seconds, times['one'], strict=True)], 3)}")


def over_devices(config: Config) -> None:
    seeds, steps = config.device_seeds, config.device_steps
    print(f"\ndevices and threads ({seeds} seeds, {steps} steps): microseconds per seed and step, min / median / max")
    kinds = [("vmap", 1, n) for n in config.devices] if jax.default_backend() == "cpu" else [("vmap", 1, jax.device_count())]
    kinds += [("map", n, 1) for n in config.threads] if jax.default_backend() == "cpu" else []
    times: dict[tuple, list[float]] = {kind: [] for kind in kinds}
    for _ in range(config.rounds):
        for kind in kinds:
            batching, threads, devices = kind
            flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
            environment = {**os.environ, "XLA_FLAGS": flags} if jax.default_backend() == "cpu" else dict(os.environ)
            asked = json.dumps([batching, threads, seeds, steps])
            command = [sys.executable, "-c", f"from {__spec__.name} import one; one('{asked}')"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            times[kind].append(float(done.stdout.split()[-1]))
    for (batching, threads, devices), seconds in times.items():
        name = f"{devices} device{'s' * (devices > 1)}" if batching == "vmap" else f"{threads} thread{'s' * (threads > 1)}"
        print(f"{name:>10}  {spread([1e6 * s / (seeds * steps) for s in seconds], 1)}   ({batching})")


def one(asked: str) -> None:
    """A row of the table over devices, in a process of its own: the second of two runs."""
    batching, threads, seeds, steps = json.loads(asked)
    settings = sweeps.Settings(batching=batching, threads=threads)
    timed(seeds, steps, settings)
    print(timed(seeds, steps, settings))


def main() -> None:
    config = tyro.cli(Config)
    tables = {"seeds": over_seeds, "chunks": over_chunks, "devices": over_devices}
    for name in config.tables:
        tables[name](config)


if __name__ == "__main__":
    main()
