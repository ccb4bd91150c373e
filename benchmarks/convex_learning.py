"""Exact curves of convex losses beside a fixed point by scipy, and six points beside simulation and another package.

    python -m closedform.benchmarks.convex_learning --pairs 3

Speed: logistic regression on two samples a dimension at 200 ridges between 0.01 and 10. A solves all of them in one call of
`convex_learning.solve` under vmap. Beside it the equations as one writes them down with scipy, at `scipy_points` of the ridges:
three integrals by scipy.integrate.quad, in each of which the proximal point is found by scipy.optimize.brentq, and damped steps
until the order parameters stand to `rtol`; and the same steps in numpy, all integrals on one grid and the proximal points by
bisection of the whole grid at once, at all of the ridges. Times are those of one point.

Six points: the error of the logistic and the hinge loss, where the public package statphys-ml has a curve too. Its values are
those of its equations, run from its source by the specification of this topic (they are heuristic for losses of labels); they
are printed as recorded, not recomputed. Simulations are fits of this package at d = 400.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ..theory.high_dimension import convex_learning, losses
from ..theory.high_dimension.label_channels import Labels
from . import goals, pairs


@dataclass(frozen=True)
class Config:
    pairs: int = 3  # rounds; in each, every row is timed once, right after A
    ridges: int = 200
    scipy_points: int = 1  # of the ridges, by scipy
    numpy_points: int = 20  # of the ridges, by numpy
    ratio: float = 2.0
    rtol: float = 1e-8  # of the fixed points by scipy and numpy
    seeds: int = 24  # of each simulated point
    dim: int = 400  # of the simulation
    threads: int = 2
    json: Path | None = None  # where the rows that goals name are kept

    def __post_init__(self):
        for name in ("pairs", "ridges", "scipy_points", "numpy_points", "seeds", "dim", "threads"):
            if getattr(self, name) < 1:
                raise SystemExit(f"{name} must be at least 1, got {getattr(self, name)}")

    def some(self, number: int) -> np.ndarray:
        """So many of the ridges, evenly spaced."""
        every = np.geomspace(0.01, 10, self.ridges)
        return every[np.linspace(0, self.ridges - 1, min(number, self.ridges)).round().astype(int)]


# Speed. A run returns m, q and V of its ridges.


def ours(config: Config) -> Callable[[], np.ndarray]:
    jax.config.update("jax_enable_x64", True)
    ridges = jnp.asarray(config.some(config.ridges))
    program = jax.jit(jax.vmap(lambda ridge: convex_learning.solve(config.ratio, ridge, losses.LOGISTIC, Labels()).order))
    return lambda: np.array(program(ridges)).T


def _steps(update_fn: Callable[..., tuple[float, float, float]], ridge: float, config: Config) -> tuple[float, float, float]:
    """Damped steps from the start that everyone takes."""
    order = (0.5, 1.0, 1 / ridge)
    for _ in range(1000):
        mapped = update_fn(*order, ridge)
        if max(abs(new / old - 1) for new, old in zip(mapped, order, strict=True)) < config.rtol:
            break
        m, q, V = ((new + old) / 2 for new, old in zip(mapped, order, strict=True))
        order = m, q, V
    return order


def by_scipy(config: Config) -> Callable[[], np.ndarray]:
    from scipy.integrate import quad
    from scipy.optimize import brentq
    from scipy.special import expit, ndtr

    def update(m: float, q: float, V: float, ridge: float) -> tuple[float, float, float]:
        deviation = math.sqrt(1 - m**2 / q)

        def at(omega: float) -> tuple[float, float, float, float, float]:
            p: Any = brentq(lambda s: s - omega - V * expit(-s), omega - 1e-9, omega + V + 1e-9, xtol=1e-13)
            f, curvature = expit(-p), expit(p) * expit(-p)
            t = m / q * omega / deviation
            weight = math.exp(-(omega**2) / (2 * q)) / math.sqrt(2 * math.pi * q)
            density = math.exp(-(t**2) / 2) / math.sqrt(2 * math.pi) / deviation
            return weight, f, -curvature / (1 + V * curvature), ndtr(t), density

        def mean(value_fn: Callable[..., float]) -> float:
            reach = 9 * math.sqrt(q)
            return 2 * config.ratio * quad(lambda omega: value_fn(*at(omega)), -reach, reach, epsrel=1e-9)[0]

        mh = mean(lambda weight, f, slope, Z, D: weight * D * f)
        qh = mean(lambda weight, f, slope, Z, D: weight * Z * f**2)
        new = 1 / (ridge - mean(lambda weight, f, slope, Z, D: weight * Z * slope))
        return mh * new, (mh**2 + qh) * new**2, new

    return lambda: np.array([_steps(update, ridge, config) for ridge in config.some(config.scipy_points)])


def by_numpy(config: Config) -> Callable[[], np.ndarray]:
    from scipy.special import expit, ndtr

    xi = np.linspace(-9, 9, 361)
    weight = np.exp(-(xi**2) / 2)
    weight *= 2 * config.ratio / weight.sum()

    def update(m: float, q: float, V: float, ridge: float) -> tuple[float, float, float]:
        omega, deviation = math.sqrt(q) * xi, math.sqrt(1 - m**2 / q)
        low, high, p = omega, omega + V, omega + V / 2
        for _ in range(50):
            below = p - V * expit(-p) < omega
            low, high = np.where(below, p, low), np.where(below, high, p)
            p = (low + high) / 2
        f, curvature, t = expit(-p), expit(p) * expit(-p), m / math.sqrt(q) * xi / deviation
        mh = weight @ (f * np.exp(-(t**2) / 2)) / math.sqrt(2 * math.pi) / deviation
        qh, Vh = weight @ (f**2 * ndtr(t)), weight @ (ndtr(t) * curvature / (1 + V * curvature))
        new = 1 / (ridge + Vh)
        return mh * new, (mh**2 + qh) * new**2, new

    return lambda: np.array([_steps(update, ridge, config) for ridge in config.some(config.numpy_points)])


class Row(NamedTuple):
    name: str
    library: str
    prepare: Callable[[Config], Callable[[], np.ndarray]]
    points: Callable[[Config], int]
    goal: float | None


ROWS = (
    Row("convex_learning.solve", "jax64", ours, lambda config: config.ridges, None),
    Row("scipy, quad and brentq", "scipy", by_scipy, lambda config: config.scipy_points, 50.0),
    Row("numpy, one grid", "scipy", by_numpy, lambda config: config.numpy_points, None),
)
QUICK = ("--pairs", "1", "--ridges", "8", "--numpy-points", "2", "--rtol", "1e-3", "--seeds", "2", "--dim", "40")


def prepare(index: int, config: Config) -> np.ndarray:
    """Keeps the run for timing; its m, q and V."""
    run = ROWS[index].prepare(config)
    pairs.keep(index, run)
    return run()


def speed(pools: pairs.Pools, config: Config) -> list[goals.Row]:
    values = [pools[row.library].submit(prepare, i, config).result() for i, row in enumerate(ROWS)]
    times = pairs.in_turn(pools, [(row.library, i) for i, row in enumerate(ROWS)], config.pairs, 1)
    print(f"\none point{'':<17}{pairs.HEAD}{'off ours by':>14}")
    judged = []
    for row, one, found in zip(ROWS, times, values, strict=True):
        factor, number = config.ridges / row.points(config), row.points(config)
        scaled = pairs.Times([t / number for t in one.seconds], *([factor * v for v in ratios] for ratios in one[1:]))
        same = values[0][np.linspace(0, config.ridges - 1, min(number, config.ridges)).round().astype(int)]
        print(f"{row.name:<26}{pairs.columns(scaled)}{np.abs(found / same - 1).max():>14.1e}", flush=True)
        if row.goal is not None:
            judged += goals.row(f"convex learning, a point: {row.name} over ours", scaled.wall, ">=", row.goal)
    return judged


# Six points. statphys-ml: from its source; a cosine above 1 counts as error 0, and the last pair did not converge.

POINTS = (
    ("logistic", 2.0, 1.0, 0.24370),
    ("logistic", 3.0, 1.0, 0.17692),
    ("logistic", 2.0, 0.1, 0.0),
    ("logistic", 3.0, 0.1, 0.0),
    ("hinge", 2.0, 0.1, 0.0),
    ("hinge", 2.0, 1.0, 0.053),
)


def fitted(config: Config, loss: str, ratio: float, ridge: float) -> tuple[float, float]:
    """Mean and standard error of the error over data sets."""
    from ..experiments.high_dimension import _classifiers

    @jax.jit
    def error(key: Any) -> Any:
        sample = _classifiers.draw(key, config.dim, round(ratio * config.dim), *map(jnp.asarray, (1.0, 0.0, 0.0)))
        return _classifiers.measure(sample, jnp.asarray(ridge), loss).error

    errors = np.array([error(jax.random.key(seed, impl="threefry2x32")) for seed in range(config.seeds)])
    return float(errors.mean()), float(errors.std() / math.sqrt(max(config.seeds - 1, 1)))


def points(config: Config) -> list[tuple[str, float, float, float, float, float, float]]:
    jax.config.update("jax_enable_x64", True)
    table = []
    for loss, ratio, ridge, theirs in POINTS:
        exact = {"logistic": losses.LOGISTIC, "hinge": losses.HINGE}[loss]
        found = float(convex_learning.solve(ratio, ridge, exact, Labels()).error)
        table.append((loss, ratio, ridge, *fitted(config, loss, ratio, ridge), found, theirs))
    return table


def main(config: Config) -> None:
    print(config)
    print(pairs.versions("jax", "scipy"), pairs.machine(), sep="; ")
    print("Every spread is min / median / max.")
    with pairs.workers(("jax64", "scipy"), config.threads) as pools:
        judged = speed(pools, config)
        table = pools["jax64"].submit(points, config).result()
    print(f"\n{'error':<10}{'ratio':>6}{'ridge':>7}{'simulated':>20}{'ours':>10}{'statphys-ml':>13}")
    for loss, ratio, ridge, mean, error, found, theirs in table:
        print(f"{loss:<10}{ratio:>6g}{ridge:>7g}{mean:>12.5f} ± {error:.4f}{found:>11.5f}{theirs:>13.5f}")
    print(f"\n{pairs.machine()}")
    goals.finish(judged, config.json)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
