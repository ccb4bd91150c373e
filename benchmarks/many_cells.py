"""What a sweep costs where nothing is computed: plan, files, status, resume, assembly and agreement of a large grid.

    python -m closedform.benchmarks.many_cells --cells 100000

Each row is a process of its own, so that its memory is its own.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from .. import sweeps
from ..sweeps.contract.request import resolve
from ..sweeps.results.catalogue import sweeps_of


@dataclass(frozen=True)
class Config:
    cells: int = 100_000
    seeds: int = 1


def nothing(key: Any, config: dict[str, float]) -> float:
    return config["level"]


def expected(config: dict[str, float]) -> float:
    return config["level"]


def swept(cells: int, seeds: int, folder: str) -> Any:
    over = {"level": [index / cells for index in range(cells)]}
    quiet: dict[str, Any] = {"progress": False, "say": lambda message: None}
    return sweeps.sweep(nothing, {"level": 1.0}, over=over, seeds=seeds, results=folder, predict=expected, **quiet)


def row(name: str, cells: int, seeds: int, folder: str) -> None:
    """One row in this process: prints seconds and gigabytes."""
    began = time.perf_counter()
    if name == "status":
        (status,) = sweeps_of(Path(folder))
        assert status.counts()["done"] == cells
    else:
        result = swept(cells, seeds, folder)
        if name == "agreement table":
            began = time.perf_counter()
            sweeps.compare(resolve(nothing, {"level": 1.0}, expected)[0], result)
    seconds = time.perf_counter() - began
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]))


def main() -> None:
    config = tyro.cli(Config)
    with tempfile.TemporaryDirectory() as folder:
        print(f"{config.cells} cells x {config.seeds} seeds: seconds, peak memory in GB")
        for name in ("sweep from nothing", "sweep again", "status", "agreement table"):
            program = f"from {__spec__.name} import row; row({name!r}, {config.cells}, {config.seeds}, {folder!r})"
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            seconds, memory = json.loads(done.stdout.split("\n")[-2])
            print(f"{name:>20}  {seconds:7.1f}  {memory:5.2f}")
        largest = max(len(files) + len(folders) for _, folders, files in os.walk(folder))
        print(f"largest folder: {largest} entries")


if __name__ == "__main__":
    main()
