r"""Prefix sizes between the trained ones lie on a straight line for orthonormal decoding, and below it for optimal decoders.

Within a block between two trained sizes a nested linear autoencoder has no preferred basis: the error of a size in between
depends on the start, and its mean over random starts is that of a uniformly random rotation of the block.

$$
E(m) = E(a) + \frac{m - a}{b - a} (E(b) - E(a)), \qquad a < m < b, \qquad E(a) = \sum_{i > a} \lambda_i
$$

by projection on the first $m$ rows after Gram-Schmidt. With optimal decoders, for a block of two sizes, the arithmetic mean of
$\lambda_{a+1}$ and $\lambda_{a+2}$ becomes the geometric one.

Source: derived here; Kusupati et al., arXiv 2205.13147, report that accuracy between trained sizes interpolates
Cost: 15 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Precision, Tolerance, check
from ...models.linear import nested
from ...theory.linear_networks import nested as theory
from . import _population


@dataclass(frozen=True)
class Config:
    spectrum: _population.Spectrum = _population.SPECTRUM  # variances of the inputs (lambda)
    model: nested.Config = field(default_factory=_population.model)
    sizes: _population.Sizes = (2, 4)  # trained prefix sizes (M): the largest is the width, neighbours at most 3 apart
    learning_rate: Positive = 0.02  # step size on the nested loss, which has no factor 1/2
    num_steps: Count = 3000  # updates
    num_networks: Count = 32  # of a run, over whose starts the errors are averaged
    dtype: Precision = "float64"  # the loss is compared to 1e-6 and better

    def __post_init__(self):
        check(self)
        _population.check_model(self.model, self.spectrum)
        if self.model.shared:
            raise ValueError("model.shared must be False: with a shared decoder the axes of a block are ordered by its columns")
        ends = sorted((0, *self.sizes))
        if ends[-1] != self.model.width or max(np.diff(ends)) > 3:
            raise ValueError(
                f"sizes must end with the {self.model.width} coordinates of the model, neighbours at most 3 apart, "
                f"got {self.sizes}"
            )


class Result(NamedTuple):
    projected: Float[Array, "size"]  # error of orthonormal decoding, mean over the networks
    optimal: Float[Array, "size"]  # error with optimal decoders
    difference: Float[Array, "size"]  # of the two, network by network: it varies less than either


def labels(config: Config) -> dict[str, tuple]:
    return {"size": tuple(range(config.model.width + 1))}


def init(key: PRNGKeyArray, config: Config) -> nested.Params:
    return jax.vmap(lambda key: nested.init(key, config.model))(jax.random.split(key, config.num_networks))


def step(state: nested.Params, config: Config) -> nested.Params:
    covariance = _population.covariance(config.spectrum)
    rate, weights = jnp.asarray(config.learning_rate, covariance.dtype), _weights(config)
    return jax.vmap(lambda params: nested.descend(params, rate, weights, covariance))(state)


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: nested.Params, config: Config) -> Result:
    covariance = _population.covariance(config.spectrum)

    def one(params: nested.Params) -> Result:
        rows = nested.representations(params)[0]
        none = jnp.trace(covariance)[None]  # size 0
        pair = nested.projection_errors(rows, covariance), nested.optimal_errors(rows, covariance)
        projected, optimal = (jnp.concatenate([none, errors]) for errors in pair)
        return Result(projected, optimal, projected - optimal)

    return jax.tree.map(lambda values: jnp.mean(values, axis=0), jax.vmap(one)(state))


def predict(config: Config) -> Result:
    sizes, trained = np.arange(config.model.width + 1), np.array(config.sizes)
    optimal = [theory.optimal_interpolated_error(config.spectrum, trained, int(size)) for size in sizes]
    line = theory.interpolated_error(config.spectrum, trained, sizes)
    return Result(line, jnp.stack(optimal), line - jnp.stack(optimal))


def _weights(config: Config) -> Float[np.ndarray, "size"]:
    return nested.weights_at(config.sizes, config.model.width)


_START = (
    "the rows of a block end orthonormal to a few per cent only, as later blocks pull at them: the direction of one is that "
    "much less uniform"
)
TOLERANCE = {
    "projected": Tolerance(0.01, reason=_START),
    "optimal": Tolerance(0.01, reason=_START),
    "difference": Tolerance(0.05, 1e-6, reason=f"{_START}; absolute at trained sizes, where it is 0"),
}
QUICK = {"spectrum": (4.0, 1.0, 0.25), "model.encoder.dim": 3, "model.encoder.num_outputs": 2, "model.num_outputs": 3}
QUICK |= {"sizes": (2,), "num_networks": 2, "num_steps": 20}
SEEDS = 16
