"""Moments of a normal variable beyond a threshold, with their digits far in the tail."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..numerics import quadrature


def tail(threshold: Float[Array, "*shape"], power: int) -> Float[Array, "*shape"]:
    """E (xi - h)_+^k / phi(h) for h >= 0: the integral of t^k e^(-t^2/2 - h t) over t > 0, by 48 nodes.

    >>> round(float(tail(jnp.zeros(()), 2)), 6)  # sqrt(pi/2)
    1.253314
    """
    rule = quadrature.legendre(48)
    nodes, weights = (jnp.asarray(part, threshold.dtype).reshape(-1, *[1] * threshold.ndim) for part in rule)
    h = threshold[None]
    end = jnp.minimum(12, 45 / jnp.maximum(h, 1))  # e^-45 of the integral lies beyond
    t = end * (1 + nodes) / 2
    return jnp.sum(weights * end * t**power * jnp.exp(-(t**2) / 2 - h * t), axis=0)


def inverse_pdf(threshold: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1/phi(h); infinite where it leaves the range of numbers.

    >>> round(float(inverse_pdf(jnp.zeros(()))), 6)
    2.506628
    """
    return math.sqrt(2 * math.pi) * jnp.exp(threshold**2 / 2)
