"""How the time of a seed's step grows with the width of a network and the number of seeds: the engine beside bare JAX.

    python -m closedform.benchmarks.growth
    python -m closedform.benchmarks.growth --figure growth.png

Trains the two-layer ReLU network on XOR (dim 16, batches of 32) by `jit(vmap(train))` (all seeds abreast), by
`jit(lax.map(train))` (one seed after the other) and by the engine, whose time has the result file in it. Rows of a width and a
number of seeds alternate, A B C A B C, after one run each that compiles.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import tyro

from . import xor_sweep
from .sweep_scaling import alternated, timed


@dataclass(frozen=True)
class Config:
    rounds: int = 3  # repetitions; the median counts
    widths: tuple[int, ...] = (8, 32, 128, 512)
    seeds: tuple[int, ...] = (1, 8, 64, 512)
    seed_steps: int = 400_000  # of all seeds together, cut to 200 to 20,000 for each
    figure: Path | None = None  # where to draw them


ENGINE, VMAP, MAP = "engine", "vmap", "map"


def rows(width: int, seeds: int, steps: int) -> dict[str, Callable[[], float]]:
    """What is timed: seconds of a whole run, by name."""
    config = xor_sweep.Config(dim=16, width=width, batch_size=32, seeds=seeds, steps=steps)
    train = xor_sweep.bare(config)
    keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), seeds)

    def seconds(program: Callable) -> float:
        began = time.perf_counter()
        jax.block_until_ready(program(keys, steps))
        return time.perf_counter() - began

    side_by_side = jax.jit(lambda keys, steps: jax.vmap(lambda key: train(key, steps))(keys))
    one_by_one = jax.jit(lambda keys, steps: jax.lax.map(lambda key: train(key, steps), keys))
    return {
        ENGINE: lambda: timed(seeds, steps, config=config),
        VMAP: lambda: seconds(side_by_side),
        MAP: lambda: seconds(one_by_one),
    }


def measured(config: Config) -> dict[tuple[int, int], dict[str, float]]:
    """Microseconds a seed and step, by width and seeds, then by row."""
    found: dict[tuple[int, int], dict[str, float]] = {}
    for width in config.widths:
        for seeds in config.seeds:
            steps = max(200, min(20_000, config.seed_steps // (seeds * max(1, width // 32))))
            times = alternated(rows(width, seeds, steps), config.rounds)
            found[width, seeds] = {name: 1e6 * statistics.median(all_) / (seeds * steps) for name, all_ in times.items()}
            said = "".join(f"{value:>10.2f}" for value in found[width, seeds].values())
            best = min(found[width, seeds][name] for name in (VMAP, MAP))
            print(f"{width:>6}{seeds:>7}{steps:>8}{said}{found[width, seeds][ENGINE] / best:>16.2f}", flush=True)
    return found


def draw(found: dict[tuple[int, int], dict[str, float]], path: Path) -> None:
    """Time against seeds, a colour a width; the engine is points joined by a line, bare JAX dashed and dotted."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4.5, 3.2), layout="constrained")
    for index, width in enumerate(sorted({width for width, _ in found})):
        seeds = sorted(seeds for one, seeds in found if one == width)
        for name, style in ((ENGINE, "o-"), (VMAP, "--"), (MAP, ":")):
            label = f"width {width}" if name == ENGINE else None
            axes.plot(seeds, [found[width, n][name] for n in seeds], style, color=f"C{index}", label=label, markersize=3)
    axes.plot([], [], "k--", label=r"bare $\tt{vmap}$")
    axes.plot([], [], "k:", label=r"bare $\tt{lax.map}$")
    axes.set(xscale="log", yscale="log", xlabel="seeds", ylabel="time per seed and step (microseconds)")
    axes.legend(fontsize="x-small", ncols=2)
    figure.savefig(path, dpi=150)


def main() -> None:
    config = tyro.cli(Config)
    print("microseconds per seed and step, median of", config.rounds)
    print(f"{'width':>6}{'seeds':>7}{'steps':>8}{ENGINE:>10}{VMAP:>10}{MAP:>10}{'over the better':>16}")
    found = measured(config)
    if config.figure:
        draw(found, config.figure)


if __name__ == "__main__":
    main()
