"""What the experiments with linear networks share: features along orthogonal directions, the loss, descent, shares."""

from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Float, PRNGKeyArray

from ...models.linear import deep_linear

Depth = Annotated[int, Ge(2)]  # layers of weights
PLACES = ("first hidden layer", "last hidden layer")


class Task(NamedTuple):
    """Targets y_i = t_i f_i with the features f_i = v_i . x, of variance p_i; in all other directions the variance is 1."""

    covariance: Float[Array, "dim dim"]
    vectors: Float[Array, "dim feature"]  # v_i, one a column
    cross: Float[Array, "feature dim"]  # E y x^T
    variances: Float[Array, "feature"]  # p_i


def task(basis: Float[Array, "dim dim"], targets: Float[Array, "feature"], variances: Float[Array, "feature"]) -> Task:
    """With the first columns of the basis as the directions of the features."""
    vectors = basis[:, : len(targets)]
    spread = jnp.ones(len(basis), basis.dtype).at[: len(targets)].set(variances)
    return Task((basis * spread[None]) @ basis.T, vectors, (targets * variances)[:, None] * vectors.T, variances)


def start(
    key: PRNGKeyArray, sizes: tuple[int, ...], scheme: Literal["gaussian", "aligned"], scale: float | Array
) -> deep_linear.Params:
    """Weights of the scheme, for layers of these sizes from the input to the output."""
    dim, *widths, num_outputs = sizes
    unit = deep_linear.init(key, deep_linear.Config(dim, tuple(widths), num_outputs, scheme, 1.0))
    return jax.tree.map(lambda w: jnp.asarray(scale, w.dtype) * w, unit)  # both schemes are proportional to their scale


def descend(params: deep_linear.Params, task: Task, rate: float | Array) -> deep_linear.Params:
    """One update on the whole distribution."""
    gradient = jax.grad(deep_linear.population_loss)(params, task.covariance, task.cross)
    return jax.tree.map(lambda p, g: p - jnp.asarray(rate, p.dtype) * g, params, gradient)


def losses(params: deep_linear.Params, task: Task) -> Float[Array, "feature"]:
    """Half of the mean squared error of each output."""
    W = deep_linear.product(params)
    square = jnp.sum(task.cross @ task.vectors * jnp.eye(len(W), dtype=W.dtype), axis=1) ** 2 / task.variances  # E y_i^2
    return (jnp.sum((W @ task.covariance - 2 * task.cross) * W, axis=1) + square) / 2


def strengths(params: deep_linear.Params, task: Task) -> Float[Array, "feature"]:
    """u_i, the factor of each feature in its own output."""
    return jnp.diagonal(deep_linear.product(params) @ task.vectors)


def shares(params: deep_linear.Params, task: Task) -> Float[Array, "place feature"]:
    """Of each feature in the variance that all features explain, in the first and in the last hidden layer.

    Directions of the input that are no feature stay in the first layer as they were drawn, and are left out.
    """
    hidden = deep_linear.products(params)[:-1]
    return jnp.stack([_explained(hidden[0], task), _explained(hidden[-1], task)])


def _explained(hidden: Float[Array, "unit dim"], task: Task) -> Float[Array, "feature"]:
    covariances = hidden @ task.covariance @ task.vectors  # of every unit and every feature
    explained = jnp.sum(covariances**2, axis=0) / task.variances
    return explained / jnp.sum(explained)
