"""Exponentials that stay within the range of numbers, so that 0 times one of them is 0."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .exact import log

Floats = Float[Array, "*shape"]


def bounded(x: Floats) -> Floats:
    """x, with infinity replaced by the 0.9th power of the largest number, at which limits are reached to rounding.

    >>> bool(jnp.isfinite(bounded(jnp.array(jnp.inf))))
    True
    """
    return jnp.minimum(x, float(jnp.finfo(x.dtype).max) ** 0.9)


def bounded_exp(x: Floats) -> Floats:
    """e^x, finite.

    >>> float(0 * bounded_exp(jnp.array(1e6)))
    0.0
    """
    return jnp.exp(jnp.minimum(x, log(float(jnp.finfo(x.dtype).max)) - 1e-3))


def times_exp(t: Floats, x: Floats) -> Floats:
    """t e^x, finite, and to rounding also where e^x alone is out of range.

    >>> round(float(jnp.log(times_exp(jnp.array(1e30), jnp.array(-100.0)))), 3)  # 30 ln 10 - 100
    -30.922
    """
    largest = log(float(jnp.finfo(x.dtype).max)) - 3
    x = jnp.minimum(x, largest - jnp.log(jnp.maximum(t, 1)))
    half = jnp.exp(x / 2)
    return jnp.where(x > -largest, t * jnp.exp(x), t * half * half)


def saturating(t: Floats, rate: Floats) -> Floats:
    """(1 - exp(-rate t))/rate for rate t >= 0, and t at rate 0; for rate t < 0 the same of |rate|, with the sign of t.

    >>> float(saturating(jnp.array(3.0), jnp.array(0.0)))
    3.0
    """
    exponent = rate * t
    positive = exponent >= 0
    size = jnp.where(positive, exponent, -exponent)
    small = size < 1e-3
    x = jnp.where(small, size, 0)
    series = t * (1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5))))
    return jnp.where(small, series, jnp.where(positive, -1, 1) * jnp.expm1(-size) / jnp.where(small, 1, rate))
