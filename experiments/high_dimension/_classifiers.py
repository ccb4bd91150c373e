"""What the experiments on labels share: the optimum of a loss by name, and what is measured of it."""

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Distinct, Positive
from ...solvers import newton, support_vectors
from ...tasks import generalised_linear
from ...theory.high_dimension import losses

LossName = Literal["square", "logistic", "hinge", "squared_hinge", "probit"]
Losses = Annotated[tuple[LossName, ...], MinLen(1), Distinct]
Ridges = Annotated[tuple[Positive, ...], MinLen(1), Distinct]
Number = float | Array
Ratios = Annotated[tuple[Positive, ...], MinLen(1), Distinct]

SMOOTH: dict[str, newton.Loss] = {
    "square": newton.square,
    "logistic": newton.logistic,
    "squared_hinge": newton.squared_hinge,
    "probit": newton.probit,
}
OF_THEORY = {
    "square": losses.SQUARE,
    "logistic": losses.LOGISTIC,
    "hinge": losses.HINGE,
    "squared_hinge": losses.SQUARED_HINGE,
    "probit": losses.PROBIT,
}
NAMES = {"square": "square", "logistic": "logistic", "hinge": "hinge", "squared_hinge": "squared hinge", "probit": "probit"}


class Sample(NamedTuple):
    teacher: Float[Array, "dim"]  # theta
    features: Float[Array, "sample dim"]  # x/sqrt d
    y: Float[Array, "sample"]


class Measured(NamedTuple):
    overlap: Float[Array, ""]  # theta.w/d
    norm: Float[Array, ""]  # |w|^2/d
    response: Float[Array, ""]  # tr H^-1/d
    error: Float[Array, ""]  # of sign z against sign u on a fresh input: the angle over pi
    training_loss: Float[Array, ""]  # mean over the samples


def draw(key: PRNGKeyArray, dim: int, num_samples: int, norm_squared: Number, noise_std: Number, flips: Number) -> Sample:
    """A teacher, and labels of it."""
    key_teacher, key_samples = jax.random.split(key)
    teacher = generalised_linear.teacher(key_teacher, dim, norm_squared)
    x, y = generalised_linear.sample_labels(key_samples, num_samples, teacher, width=noise_std, flips=flips)
    return Sample(teacher, x / jnp.sqrt(jnp.asarray(dim, x.dtype)), y)


def fit(features: Array, y: Array, ridge: Array, loss: str) -> tuple[Float[Array, "dim"], Float[Array, ""]]:
    """Weights and response of the optimum."""
    if loss == "hinge":
        found = support_vectors.hinge(features, y, ridge)
        at_kink = jnp.sum(jnp.where((found.dual > 1e-5) & (found.dual < 1 - 1e-5), 1.0, 0.0))
        return found.weights, (1 - at_kink / features.shape[1]) / ridge  # only samples at the kink have curvature: infinite
    weights = newton.fit(features, y, ridge, SMOOTH[loss]).weights
    return weights, newton.response(features, y, ridge, weights, SMOOTH[loss])


def measure(sample: Sample, ridge: Array, loss: str, count: Array | int | None = None) -> Measured:
    """Of the optimum on the first `count` samples: the others become zero inputs, which have no gradient."""
    features, y, teacher = sample.features, sample.y, sample.teacher
    number = jnp.asarray(y.size if count is None else count, features.dtype)
    kept = jnp.arange(y.size, dtype=number.dtype) < number
    features = jnp.where(kept[:, None], features, 0)
    weights, response = fit(features, y, ridge, loss)
    dim = teacher.size
    overlap, norm = teacher @ weights / dim, weights @ weights / dim
    error = jnp.arccos(jnp.clip(overlap / jnp.sqrt(norm * (teacher @ teacher / dim)), -1, 1)) / jnp.pi
    values = value_fn(loss)(features @ weights, y)
    return Measured(overlap, norm, response, error, jnp.sum(jnp.where(kept, values, 0)) / number)


def value_fn(loss: str) -> Callable[[Array, Array], Array]:
    """The loss of outputs and labels."""
    return SMOOTH[loss] if loss != "hinge" else lambda z, y: jax.nn.relu(1 - y * z)
