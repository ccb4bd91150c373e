r"""Every prefix of a nested linear autoencoder is as good as an autoencoder of its size, and its axes are ordered.

Trained from small random weights: with a decoder for each size, with one decoder cut to each size, with few sizes only,
without nesting (`plain`), and one network for each size alone. Nested sizes reach the error of networks of their own, and
with all sizes Gram-Schmidt of the encoder's rows gives the principal axes in order, as the columns of the shared decoder
do. With few sizes the subspaces are found, and within them any axes.

$$
\mathbb{E} |x - V_m z_{:m}|^2 = \sum_{i > m} \lambda_i, \qquad
L = \sum_{m \in M} \sum_{i > m} \lambda_i
$$

Source: derived here, for the nested loss of Kusupati et al., arXiv 2205.13147, with squared errors
Cost: 20 s
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Precision, Tolerance, check
from ...models.linear import nested
from ...theory.linear_networks import nested as theory
from . import _population

HEADS = ("separate", "shared")


@dataclass(frozen=True)
class Config:
    spectrum: _population.Spectrum = _population.SPECTRUM  # variances of the inputs (lambda), at least 10 % apart
    model: nested.Config = field(default_factory=_population.model)  # its decoders are shared in the variant of that name
    few_sizes: _population.Sizes = (2, 4)  # trained prefix sizes of the variant with few
    learning_rate: Positive = 0.02  # step size on the nested loss, which has no factor 1/2
    num_steps: Count = 12000  # updates
    dtype: Precision = "float64"  # axes to 1e-6

    def __post_init__(self):
        check(self)
        _population.check_model(self.model, self.spectrum)
        _population.check_sizes(self.few_sizes, self.model.width, "few_sizes")
        if self.model.shared:
            raise ValueError("model.shared must be False: both kinds of decoders are trained")


class State(NamedTuple):
    separate: nested.Params  # one network for each row of _weights, on a leading axis
    shared: nested.Params


class Result(NamedTuple):
    error: Float[Array, "variant size"]  # of each prefix size, by the network's decoders; the last variant is a network a size
    alignment: Float[Array, "head row axis"]  # |cos|: rows of the encoder after Gram-Schmidt; columns of the shared decoder
    few_distance: Float[Array, "few"]  # of the first rows from the principal subspace, at each of few_sizes
    few_error: Float[Array, "size"] | None = None  # of each prefix size with few of them trained, by optimal decoders
    plain_error: Float[Array, "size"] | None = None  # without nesting
    few_alignment: Float[Array, "row axis"] | None = None
    plain_alignment: Float[Array, "row axis"] | None = None


def labels(config: Config) -> dict[str, tuple]:
    return {"variant": (*HEADS, "independent"), "size": _sizes(config), "head": HEADS, "few": config.few_sizes}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_separate, key_shared = jax.random.split(key)
    keys = jax.random.split(key_separate, len(_weights(config)))
    separate = jax.vmap(lambda key: nested.init(key, config.model))(keys)
    return State(separate, nested.init(key_shared, replace(config.model, shared=True)))


def step(state: State, config: Config) -> State:
    weights, covariance = _weights(config), _population.covariance(config.spectrum)
    rate = jnp.asarray(config.learning_rate, covariance.dtype)
    separate = jax.vmap(lambda params, row: nested.descend(params, rate, row, covariance))(state.separate, jnp.asarray(weights))
    return State(separate, nested.descend(state.shared, rate, jnp.ones(config.model.width), covariance))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    covariance, axes = _population.covariance(config.spectrum), jnp.eye(len(config.spectrum))
    own = jax.vmap(lambda params: nested.errors(params, covariance)[0])(state.separate)
    rows = jax.vmap(lambda params: nested.representations(params)[0])(state.separate)
    shared = nested.errors(state.shared, covariance)[0]
    aligned = jax.vmap(lambda one: nested.axis_alignment(one, axes))(rows[:3])
    columns = state.shared.decoders[0, 0]
    of_columns = jnp.abs(columns / jnp.linalg.norm(columns, axis=0, keepdims=True)).T
    few, plain = (nested.optimal_errors(rows[place], covariance) for place in (1, 2))
    distance = [nested.subspace_distance(rows[1, :m], axes[:m]) for m in config.few_sizes]
    return Result(
        error=jnp.stack([own[0], shared, jnp.diagonal(own[3:])]),
        alignment=jnp.stack([aligned[0], of_columns]),
        few_distance=jnp.stack(distance),
        few_error=few,
        plain_error=plain,
        few_alignment=aligned[1],
        plain_alignment=aligned[2],
    )


def predict(config: Config) -> Result:
    sizes, dim = _sizes(config), len(config.spectrum)
    error = theory.prefix_errors(config.spectrum, np.array(sizes))
    return Result(
        error=jnp.stack([error] * 3),
        alignment=jnp.stack([jnp.eye(len(sizes), dim)] * 2),
        few_distance=jnp.zeros(len(config.few_sizes)),
    )


def _sizes(config: Config) -> tuple[int, ...]:
    return tuple(range(1, config.model.width + 1))


def _weights(config: Config) -> Float[np.ndarray, "network size"]:
    """Of the terms of each network: all sizes, few, the largest alone, then each alone."""
    width = config.model.width
    few = nested.weights_at(config.few_sizes, width)
    return np.concatenate([np.ones((1, width)), few[None], np.eye(width)[-1:], np.eye(width)])


_END = "gradient descent has converged: what is left of the slowest mode after these updates"
TOLERANCE = {
    "error": Tolerance(0, 1e-6, reason=_END),
    "alignment": Tolerance(0, 1e-5, reason=f"{_END}; cosines of axes that cross are first order in it"),
    "few_distance": Tolerance(0, 1e-5, reason=f"{_END}; a distance is first order in it"),
}
QUICK = {"spectrum": (4.0, 1.0, 0.25), "model.encoder.dim": 3, "model.encoder.num_outputs": 2, "model.num_outputs": 3}
QUICK |= {"few_sizes": (2,), "num_steps": 20}
SEEDS = 8
