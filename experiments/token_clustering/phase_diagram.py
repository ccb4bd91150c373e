"""In many dimensions uniform tokens are as good as orthogonal: when they become one cluster is one curve over (time, beta).

Independent uniform tokens under softmax attention. Share of the pairs that have come together, over time and inverse temperature,
beside the time at which the inner product of orthogonal tokens is at the same threshold. The mean inner product follows the
closed curve gamma(t) with an error that falls as 1/d where the closest pair of the start has no head start: its inner product is
about delta = sqrt(2 log(n^2/2)/d), and attracts e^(beta delta) times as much. Temperatures with beta delta < 1/2 are judged; at
the others the closest pairs come first, and the curve is drawn as what more dimensions lead to.

Source: Geshkovski, Letrouit, Polyanskiy and Rigollet, arXiv 2312.10794 (the diagram and its curve, from a public formalisation of
the statements and from the authors' code); where it holds at finite d is derived here
Cost: 40 s
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...models import sphere_attention
from ...theory import token_clustering
from . import _flows


@dataclass(frozen=True)
class Config:
    num_tokens: int = 16  # paper n
    dim: int = 256  # of a token, at least num_tokens; paper d
    betas: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)  # inverse temperatures
    time: float = field(default=30.0, metadata=dict(static=True))  # of the flow
    num_records: int = 60  # times of a record, evenly spaced
    steps_per_record: int = 10  # Runge-Kutta steps between two of them
    threshold: float = field(default=0.999, metadata=dict(static=True))  # inner product of two tokens that are together
    dtype: str = "float64"  # 1 - threshold is resolved, and so is a pair's slow approach

    def __post_init__(self):
        _flows.require_betas(self.betas)
        _flows.require_positive(self, "num_records", "steps_per_record")
        if self.num_tokens < 2 or self.dim < self.num_tokens:
            raise ValueError(f"num_tokens must be from 2 to dim = {self.dim}, got {self.num_tokens}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must be above 0 and below 1, got {self.threshold}")
        if not 0 < self.time < float("inf"):
            raise ValueError(f"time must be positive and finite, got {self.time}")

    @property
    def judged(self) -> tuple[float, ...]:
        """The inverse temperatures at which the closest pair has no head start."""
        head_start = math.sqrt(2 * math.log(self.num_tokens**2 / 2) / self.dim)
        return tuple(beta for beta in self.betas if beta * head_start < 0.5)

    @property
    def other(self) -> tuple[float, ...]:
        return tuple(beta for beta in self.betas if beta not in self.judged)


class Result(NamedTuple):
    """Axis low: the judged temperatures, high: the others. Records begin at the start."""

    mean: Float[Array, "low record"]  # mean inner product of all pairs
    crossing: Float[Array, "low"]  # when that is at the threshold; `time` if later
    mean_high: Float[Array, "high record"] | None  # the same of the others
    crossing_high: Float[Array, "high"] | None
    together: Float[Array, "beta record"] | None  # share of the pairs above the threshold
    furthest: Float[Array, "beta"] | None  # largest distance of a pair from gamma, over all times


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    start = sphere_attention.uniform(key, config.num_tokens, config.dim)
    # as many coordinates as tokens are enough: the flow turns with its start
    start = sphere_attention.normalise(jnp.linalg.qr(start.T)[1].T)
    betas = jnp.asarray(config.betas, start.dtype)
    steps = config.num_records * config.steps_per_record

    def of_beta(beta: Array, gamma: Array) -> tuple[Array, Array, Array]:
        path = _flows.path(start, config.time, steps, beta, softmax=True, every=config.steps_per_record)
        pairs = jax.vmap(sphere_attention.inner_products)(path)
        share = jax.vmap(lambda x: sphere_attention.fraction_above(x, config.threshold))(path)
        return jnp.mean(pairs, axis=1), share, jnp.max(jnp.abs(pairs - gamma[:, None]))

    means, shares, furthest = jax.vmap(of_beta)(betas, _gamma(config, config.betas).astype(start.dtype))
    low, high = (jnp.asarray([config.betas.index(beta) for beta in part], int) for part in (config.judged, config.other))
    crossings = jax.vmap(lambda mean: _crossing(mean, config))(means)
    return Result(means[low], crossings[low], means[high], crossings[high], shares, furthest)


def _crossing(mean: Float[Array, "record"], config: Config) -> Float[Array, ""]:
    """By interpolation in -log(1 - mean), which rises evenly at the end."""
    depth, level = -jnp.log(jnp.maximum(1 - mean, 1e-15)), -math.log(1 - config.threshold)
    after = jnp.clip(jnp.argmax(depth > level), 1, config.num_records)
    share = (level - depth[after - 1]) / (depth[after] - depth[after - 1])
    time = (after - 1 + share) * (config.time / config.num_records)
    return jnp.where(depth[-1] > level, time, config.time)


def _times(config: Config) -> Float[Array, "record"]:
    return jnp.arange(config.num_records + 1.0) * (config.time / config.num_records)


def _gamma(config: Config, betas: tuple[float, ...]) -> Float[Array, "beta record"]:
    if not betas:
        return jnp.zeros((0, config.num_records + 1))
    return token_clustering.phase_diagram(_times(config), jnp.asarray(betas, float), config.num_tokens)


def _curve(config: Config, betas: tuple[float, ...]) -> Float[Array, "beta"]:
    times = token_clustering.phase_curve(jnp.asarray(betas, float), config.num_tokens, 1 - config.threshold)
    return jnp.minimum(times, config.time)


def predict(config: Config) -> Result:
    return Result(_gamma(config, config.judged), _curve(config, config.judged), None, None, None, None)


def predict_limit(config: Config) -> Result:
    """Infinitely many dimensions at every temperature."""
    right, other = predict(config), config.other
    return right._replace(mean_high=_gamma(config, other), crossing_high=_curve(config, other))


TOLERANCE = {
    # to first order in 1/sqrt(d) the draws average out; at beta <= 3 the error is -1.7/d at most, which at d = 256 is 0.007 and
    # at d = 32, where one temperature is judged, hides behind 16 draws
    "mean": (0.0, 0.01),
    "crossing": (0.01, 0.02),  # the same error, of the time: half that of log(1 - gamma)
}
QUICK = {"num_tokens": 4, "dim": 64, "betas": (0.0, 1.0, 6.0), "time": 4.0, "num_records": 4}
GRID = {"dim": (32, 256, 4096)}
SEEDS = 16
