"""A linear student of one hidden layer that learns a teacher's output and filtered hidden state, over the population."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...models.linear import deep_linear


class Problem(NamedTuple):
    """Inputs are hidden states of the teacher: nuisances, and the task direction last. The first output is the task."""

    target: Float[Array, "output dim"]  # the teacher's output map above sqrt(alpha) times its filter
    covariance: Float[Array, "dim dim"]


def problem(variances: tuple[float, ...], coefficient: Array | float, leak: Array | float, alpha: Array | float) -> Problem:
    dim = len(variances) + 1
    gains = jnp.where(jnp.arange(dim) < dim - 1, leak, 1.0)
    task = jnp.zeros(dim).at[-1].set(coefficient)
    target = jnp.concatenate([task[None], jnp.sqrt(alpha) * jnp.diag(gains)])
    return Problem(target, jnp.diag(jnp.asarray((*variances, 1.0), float)))


def init(key: PRNGKeyArray, dim: int, num_features: int, init_scale: Array | float) -> deep_linear.Params:
    """Small Gaussian weights, `init_scale` an argument of the program."""
    unit = deep_linear.init(key, deep_linear.Config(dim=dim, widths=(num_features,), num_outputs=dim + 1, scale=1.0))
    return jax.tree.map(lambda w: init_scale * w, unit)


def descend(params: deep_linear.Params, problem: Problem, leading_share: Array | float) -> deep_linear.Params:
    """A step of gradient descent on half of the sum of both errors, at a step size in proportion to 1 over its curvature."""
    target, covariance = problem
    # no mode of the product is stronger than |target|, and none has an input of more variance
    rate = leading_share / (jnp.max(jnp.diagonal(covariance)) * jnp.sqrt(jnp.sum(target**2)))
    gradient = jax.grad(deep_linear.population_loss)(params, covariance, target @ covariance)
    return jax.tree.map(lambda p, g: p - jnp.asarray(rate, p.dtype) * g, params, gradient)


def errors(params: deep_linear.Params, problem: Problem) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The squared error of the task, and the sum of both."""
    off = deep_linear.product(params) - problem.target
    rows = jnp.sum((off @ problem.covariance) * off, axis=1)
    return rows[0], jnp.sum(rows)
