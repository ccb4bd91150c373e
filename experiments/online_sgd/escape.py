r"""The steps until online SGD finds one direction grow with the dimension by a power that the information exponent sets.

Student $g(w \cdot x)$ on the unit sphere, labels $g(w_* \cdot x)$ with $g = \mathrm{He}_k/\sqrt{k!}$, a fresh
$x \sim N(0, I_d)$ a step, correlation loss. From the overlap $m = w \cdot w_* = d^{-1/2}$, at the learning rate
$\eta = c\, d^{-\max(k, 2)/2}$, half of the runs pass $m = 1/2$ within

$$
n = \frac1\eta \int_{d^{-1/2}}^{1/2} \frac{dm}{k\, m^{k - 1} (1 - m^2) - \frac{\eta d}{2} V(m)\, m}
\sim d\ (k = 1), \quad d \ln d\ (k = 2), \quad d^{k - 1}\ (k \ge 3)
$$

The sign of the overlap is free for even $k$; for odd $k$ a start with a negative overlap never escapes. Runs here start above
0, and those that do not escape count as infinitely slow.

Source: G. Ben Arous et al., arXiv 2003.10409 (recalled); the integral with its noise is derived here
Cost: 40 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, Le
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Fraction, Positive, Static, Tolerance, check
from ...models.fully_connected import spherical_unit
from ...theory.feature_learning import information_exponent
from . import _walkers


@dataclass(frozen=True)
class Config:
    exponent: Annotated[int, Ge(1), Le(6)] = 2  # of the link He_k (k)
    dim: Annotated[int, Ge(5)] = 64  # input dimension (d)
    rate_scale: Positive = 0.1  # c, of the learning rate c d^(-max(k, 2)/2)
    end: Annotated[Fraction, Static] = 0.5  # overlap at which a run has escaped
    num_walkers: Count = 33  # runs of a seed, whose median is taken
    max_steps: Count = 300_000  # a seed of which half of the runs take longer gives an infinite median

    def __post_init__(self):
        check(self)
        if self.end <= self.dim**-0.5:
            raise ValueError(f"end must be above the overlap at the start, dim^(-1/2) = {self.dim**-0.5:.3f}, got {self.end}")

    @property
    def model(self) -> spherical_unit.Config:
        return spherical_unit.Config(self.dim, (0.0,) * self.exponent + (1.0,))

    @property
    def learning_rate(self) -> float:
        return self.rate_scale * self.dim ** (-max(self.exponent, 2) / 2)


class Result(NamedTuple):
    steps: Float[Array, ""]  # median over the runs of the steps until the overlap is `end`, over d


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key_start, key = jax.random.split(key)
    start = jnp.full(1, config.dim**-0.5)
    params = _walkers.started(key_start, config.model, config.num_walkers, start)

    def sample(key: PRNGKeyArray) -> tuple[Array, Array]:
        x = jax.random.normal(key, params.w.shape)
        return x, spherical_unit.link(params.coefficients, x[:, 0])

    steps = _walkers.median_steps(params, key, sample, config.learning_rate, lambda w: w[:, 0] >= config.end, config.max_steps)
    return Result(steps / config.dim)


def predict(config: Config) -> Result:
    return Result(_time(config, config.learning_rate * config.dim) / (config.learning_rate * config.dim))


def predict_without_noise(config: Config) -> Result:
    """The drift alone: stored and drawn beside the prediction, but not judged."""
    return Result(_time(config, 0.0) / (config.learning_rate * config.dim))


def _time(config: Config, noise: Float[Array, ""] | float) -> Float[Array, ""]:
    link = jnp.asarray(config.model.coefficients, float)
    return information_exponent.overlap_time(config.end, config.dim**-0.5, link, link, noise)


TOLERANCE = {
    "steps": Tolerance(
        0.15,
        reason="the time is that of the mean motion: runs scatter by their own escape time at these learning rates, and their "
        "median is that of the mean motion as d grows; at k = 3 it is some 10 % above at d = 64 to 128",
    ),
}
QUICK = {"dim": 16, "num_walkers": 5, "rate_scale": 0.5, "max_steps": 3000}
SEEDS = 8
GRID = {"exponent": (1, 2, 3), "dim": (32, 64, 128)}
