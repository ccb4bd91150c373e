r"""How many labels a plane can separate: Cover's count at any size, Gardner's margin, and the threshold for noisy teachers.

Random labels of $n$ points in $d$ dimensions are separable by a plane through the origin with probability

$$
2^{1 - n} \sum_{k < d} \binom{n - 1}{k}
$$

at every size. Labels of a sign teacher with flips are separable up to the ratio $\alpha_c$ as $d \to \infty$; at finite $d$ the
share of separable sets falls from 1 to 0 around it, and the area below that curve measures where. The largest margin of random
labels at a ratio $\alpha$ is the $\kappa$ with $1/\alpha = (1 + \kappa^2) \Phi(\kappa) + \kappa \phi(\kappa)$.

Source: Cover 1965; Gardner, J. Phys. A 21 (1988) 257; Candes and Sur, arXiv 1804.09753 (abstract read)
Cost: 50 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Gt, Le, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Precision, Static, Tolerance, check
from ...solvers import support_vectors
from ...tasks import generalised_linear
from ...theory.high_dimension import separability
from ...theory.high_dimension.label_channels import Labels

Ratios = Annotated[tuple[Positive, ...], MinLen(1), Distinct]
Flips = Annotated[float, Gt(0), Le(0.5)]


@dataclass(frozen=True)
class Config:
    dim: Count = 50  # inputs, for shares of separable sets (d)
    num_sets: Count = 12  # sets of random labels a seed and ratio
    ratios: Ratios = (1.6, 1.8, 1.9, 2.0, 2.1, 2.2, 2.4)  # samples a dimension, random labels
    flips: Annotated[tuple[Flips, ...], MinLen(1), Distinct] = (0.05, 0.1, 0.2, 0.5)  # of a sign teacher's labels (eta)
    num_taught: Count = 3  # sets a seed, ratio and share of flips
    lowest: Annotated[Positive, Static] = 0.8  # ratio at which the map of flips begins
    spacing: Annotated[Positive, Static] = 0.6  # of its ratios
    num_spaced: Count = 10  # ratios of the map
    margin_dim: Count = 200  # inputs, for the largest margin
    margin_ratios: Ratios = (0.25, 0.5, 1.0, 1.5)  # for it; near 2 it vanishes
    dtype: Precision = "float64"  # a margin of 1e-5 of a sample's length is told from none

    def __post_init__(self):
        check(self)
        if min(*self.ratios, self.lowest) * self.dim < 1 or min(self.margin_ratios) * self.margin_dim < 1:
            raise ValueError(f"ratios must leave a sample at dim {self.dim} and margin_dim {self.margin_dim}")
        if max(self.margin_ratios) >= 2:
            raise ValueError(f"margin_ratios must be below 2, where random labels have a margin, got {max(self.margin_ratios)}")


class Result(NamedTuple):
    random_share: Float[Array, "ratio"]  # of separable sets with random labels
    threshold: Float[Array, "flip"]  # lowest + area below the share of separable sets
    margin: Float[Array, "margin_ratio"]  # kappa, of random labels
    support: Float[Array, "margin_ratio"]  # share of support vectors
    share: Float[Array, "flip spaced"] | None = None  # of separable sets


def labels(config: Config) -> dict[str, tuple]:
    return {"ratio": config.ratios, "flip": config.flips, "margin_ratio": config.margin_ratios}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key_random, key_taught, key_margin = jax.random.split(key, 3)
    random, share = _shares(key_random, key_taught, config)
    # of a curve that falls from 1 to 0, by the trapezoidal rule
    threshold = config.lowest + config.spacing * (jnp.sum(share, axis=1) - (share[:, 0] + share[:, -1]) / 2)
    most = max(round(ratio * config.margin_dim) for ratio in config.margin_ratios)
    x, y = _random_set(key_margin, config.margin_dim, most, jnp.asarray(0.5))

    def largest(number: Array) -> tuple[Array, Array]:
        index = jnp.arange(most) % number
        found = support_vectors.hard_margin(x[index], y[index])
        near = (y * (x @ found.weights) < 1.001) & (jnp.arange(most) < number)
        return found.margin, jnp.sum(near) / number

    counts = jnp.asarray([round(ratio * config.margin_dim) for ratio in config.margin_ratios])
    margin, support = jax.lax.map(largest, counts)
    return Result(random, threshold, margin, support, share)


def predict(config: Config) -> Result:
    random = [separability.cover_probability(round(ratio * config.dim), config.dim) for ratio in config.ratios]
    nothing = jnp.zeros(())
    threshold = jax.vmap(lambda flips: separability.capacity(nothing, Labels(1.0, 0.0, flips)))(
        jnp.asarray(config.flips, float)
    )
    ratios = jnp.asarray(config.margin_ratios, float)
    planes = jax.vmap(lambda ratio: separability.hard_margin(ratio, Labels(1.0, 0.0, 0.5)))(ratios)
    return Result(jnp.stack(random), threshold, planes.margin, planes.support)


def _spaced(config: Config) -> list[float]:
    return [config.lowest + config.spacing * i for i in range(config.num_spaced)]


def _random_set(key: PRNGKeyArray, dim: int, num_samples: int, flips: Array) -> tuple[Array, Array]:
    key_teacher, key_samples = jax.random.split(key)
    theta = generalised_linear.teacher(key_teacher, dim)
    return generalised_linear.sample_labels(key_samples, num_samples, theta, flips=flips)


def _shares(key_random: PRNGKeyArray, key_taught: PRNGKeyArray, config: Config) -> tuple[Array, Array]:
    """Shares of separable sets: of random labels, and of each share of flips at the spaced ratios.

    A set of fewer samples repeats its own, which is no further constraint: one program serves all.
    """
    drawn = (len(config.ratios), config.num_sets), (len(config.flips), config.num_spaced, config.num_taught)
    sizes = jnp.asarray([round(ratio * config.dim) for ratio in config.ratios])[:, None]
    spaced = jnp.asarray([round(ratio * config.dim) for ratio in _spaced(config)])[None, :, None]
    flips = jnp.asarray(config.flips, float)[:, None, None]
    most = max(round(ratio * config.dim) for ratio in (*config.ratios, *_spaced(config)))

    def separable(one: tuple[Array, Array, Array]) -> Array:
        key, number, flip = one
        x, y = _random_set(key, config.dim, most, flip)
        index = jnp.arange(most) % number
        return support_vectors.hard_margin(x[index], y[index]).separable

    keys = [jax.random.split(key, shape).reshape(-1) for key, shape in zip((key_random, key_taught), drawn, strict=True)]
    numbers = [jnp.broadcast_to(part, shape).reshape(-1) for part, shape in zip((sizes, spaced), drawn, strict=True)]
    flipped = [jnp.full(drawn[0], 0.5).reshape(-1), jnp.broadcast_to(flips, drawn[1]).reshape(-1)]
    found = jax.lax.map(separable, tuple(map(jnp.concatenate, (keys, numbers, flipped)))).astype(float)
    first = keys[0].size
    return jnp.mean(found[:first].reshape(drawn[0]), axis=-1), jnp.mean(found[first:].reshape(drawn[1]), axis=-1)


TOLERANCE = {
    "random_share": Tolerance(absolute=1e-3, reason="exact at this size; a thousandth for shares near 0 or 1"),
    "threshold": Tolerance(0.03, reason="finite size: a relative c/d at d = 50 with c = 1.5, and the spacing of the ratios"),
    "margin": Tolerance(0.01, reason="finite size: a relative c/d at d = 200 with c = 2"),
    "support": Tolerance(0.01, reason="finite size: a relative c/d at d = 200 with c = 2"),
}
CURVE = {"ratios": 41, "flips": 24, "margin_ratios": 24}
QUICK = {
    "dim": 6,
    "num_sets": 4,
    "ratios": (1.5, 2.0),
    "flips": (0.2, 0.5),
    "num_taught": 1,
    "spacing": 2.0,
    "num_spaced": 4,
    "margin_dim": 12,
    "margin_ratios": (0.5, 1.0),
}
SEEDS = 32
