"""All benchmarks that goals judge, one after the other, and one table: row, ratio, goal.

    python -m closedform.benchmarks                     # about half an hour on two cores
    python -m closedform.benchmarks --only kernel_ridge --output here.json

A benchmark runs in a process of its own, which prints its details. What is measured is kept as JSON, with the processor, the
versions and the spreads; `docs/benchmarks/<machine>.json` is shown on the site.
"""

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from . import goals

TABLE = (
    "xor_sweep",
    "bilinear",
    "convex_relu",
    "kernel_ridge",
    "ode_transformer",
    "deep_equilibrium",
    "deep_linear",
    "convex_learning",
)


@dataclass(frozen=True)
class Config:
    quick: bool = False  # sizes of seconds, to see that all rows run; their ratios say nothing
    only: tuple[str, ...] = ()  # some of the benchmarks; all if not given
    output: Path = Path("benchmarks.json")


def measured(name: str, quick: bool, folder: Path) -> list[goals.Row]:
    """Run one benchmark; its rows."""
    path = folder / f"{name}.json"
    module = f"{__package__}.{name}"
    sizes = importlib.import_module(module).QUICK if quick else ()
    subprocess.run([sys.executable, "-m", module, *sizes, "--json", str(path)], check=True)
    return goals.load(path)[1]


def main(config: Config, run: Callable[[str, bool, Path], Sequence[goals.Row]] = measured) -> int:
    """Exit code 1 where a benchmark ended with an error; the rows of the others are kept."""
    if strangers := sorted(set(config.only) - set(TABLE)):
        raise SystemExit(f"only: got {strangers[0]!r}; allowed: {', '.join(TABLE)}")
    rows: list[goals.Row] = []
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for name in config.only or TABLE:
            try:
                rows += run(name, config.quick, Path(folder))
            except (subprocess.CalledProcessError, OSError) as error:
                failed.append(f"{name}: {error}")
    goals.save(config.output, {**goals.machine(), "quick": config.quick}, rows)
    print("\n".join(["", *goals.lines(rows), *failed, str(config.output)]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
