"""Values and slopes of a series of orthonormal Hermite polynomials."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float


def series(z: Float[Array, "*shape"], coefficients: Float[Array, "term"]) -> Float[Array, "*shape"]:
    """sum_k c_k h_k(z), by the recurrence of the orthonormal polynomials."""
    before, now, total = jnp.zeros_like(z), jnp.ones_like(z), jnp.zeros_like(z)
    for k in range(len(coefficients)):
        total = total + coefficients[k] * now
        before, now = now, (z * now - math.sqrt(k) * before) / math.sqrt(k + 1)
    return total


def slope(z: Float[Array, "*shape"], coefficients: Float[Array, "term"]) -> Float[Array, "*shape"]:
    """Its derivative, sum_k sqrt(k) c_k h_{k-1}(z)."""
    orders = jnp.arange(1, len(coefficients), dtype=coefficients.dtype)
    return series(z, coefficients[1:] * jnp.sqrt(orders))
