"""What the experiments share: a sample with a mean, its moments, and steps of deep linear networks with momentum and decay."""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...models.linear import deep_linear, rank_one

Teacher = Annotated[tuple[float, ...], MinLen(1)]


class Moments(NamedTuple):
    """What training on a sample depends on."""

    covariance: Float[Array, "*network dim dim"]  # mean of x x^T, about 0
    cross: Float[Array, "*network 1 dim"]  # mean of y x^T, the vector b
    square: Float[Array, "*network"]  # mean of y^2


def check_teacher(teacher: tuple, dim: int) -> None:
    """Raise ValueError for a teacher of more coordinates than inputs, or of none but zeros."""
    if len(teacher) > dim:
        raise ValueError(f"teacher must have at most dim = {dim} coordinates, got {len(teacher)}")
    if not any(teacher):
        raise ValueError(f"teacher must not be 0, got {teacher}")


def sample(
    key: PRNGKeyArray, num_samples: int, dim: int, mean: float | Array, teacher: tuple
) -> tuple[Float[Array, "sample dim"], Float[Array, "sample"]]:
    """x = mean e_1 + N(0, I) and y = t.x with the coordinates of the teacher, then zeros."""
    x = jax.random.normal(key, (num_samples, dim)).at[:, 0].add(mean)
    return x, x[:, : len(teacher)] @ jnp.asarray(teacher, x.dtype)


def moments(x: Float[Array, "sample dim"], y: Float[Array, "sample"]) -> Moments:
    return Moments(x.T @ x / len(y), (y @ x / len(y))[None], jnp.mean(y**2))


def drive(mean: float | Array, teacher: tuple) -> Float[Array, ""]:
    """|b| of infinitely many samples, b = t + mean t_1 mean e_1."""
    t = jnp.asarray(teacher, float)
    return jnp.linalg.norm(t.at[0].add(mean**2 * t[0]))


def unit_start(key: PRNGKeyArray, dim: int, width: int, depth: int, direction: Float[Array, "dim"]) -> deep_linear.Params:
    """A start of rank one with layers of norm 1."""
    return rank_one.start(key, deep_linear.Config(dim, (width,) * (depth - 1), 1, scale=1.0), direction)


def unit_gaussian(key: PRNGKeyArray, dim: int, width: int, depth: int) -> deep_linear.Params:
    """Random weights of variance 1 over the inputs of their layer."""
    return deep_linear.init(key, deep_linear.Config(dim, (width,) * (depth - 1), 1, "gaussian", 1.0))


def scaled(params: deep_linear.Params, scales: Float[Array, "*network"]) -> deep_linear.Params:
    """Networks on leading axes, of which the last may have size 1, all layers of each multiplied by its scale."""
    return jax.tree.map(lambda w: scales[..., None, None] * w, params)


def loss(params: deep_linear.Params, data: Moments) -> Float[Array, ""]:
    """Half the mean squared error."""
    return deep_linear.population_loss(params, *data)


def gradient(params: deep_linear.Params, data: Moments, weight_decay: float | Array) -> tuple[Array, deep_linear.Params]:
    """The loss without its penalty, and the gradient with it: weight_decay/2 times the squared norms."""
    value, slope = jax.value_and_grad(loss)(params, data)
    return value, jax.tree.map(lambda g, w: g + weight_decay * w, slope, params)


def descended(params: deep_linear.Params, slope: deep_linear.Params, learning_rate: float | Array) -> deep_linear.Params:
    return jax.tree.map(lambda w, g: w - learning_rate * g, params, slope)
