"""Norms whose squares stay within the range of numbers, with derivative 0 at 0."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def power_of_two(x: Float[Array, "*shape"], axis: int | None = None) -> Float[Array, "*reduced"]:
    """A power of 2 near the largest modulus of x, 1 for zeros: dividing by it rounds nothing. It has no derivative.

    >>> [float(power_of_two(jnp.array(x))) for x in (5.0, 0.75, 0.0)]
    [4.0, 0.5, 1.0]
    """
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=axis, initial=0))
    return jnp.where(largest > 0, largest / nonzero(2 * jnp.frexp(largest)[0]), 1)


def length(x: Float[Array, "*shape n"]) -> Float[Array, "*shape"]:
    """|x| along the last axis, with derivative 0 at 0.

    >>> round(float(length(jnp.array([3e30, 4e30])) / 1e30), 5), jax.grad(length)(jnp.zeros(2)).tolist()
    (5.0, [0.0, 0.0])
    """
    size = power_of_two(x, axis=-1)
    square = jnp.sum((x / size[..., None]) ** 2, axis=-1)
    return jnp.where(square > 0, size * jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def nonzero(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x, and 1 in place of 0: to divide by.

    >>> nonzero(jnp.array([2.0, 0.0])).tolist()
    [2.0, 1.0]
    """
    return jnp.where(x == 0, 1, x)
