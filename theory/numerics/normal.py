"""The standard normal density and distribution function, and quotients by a deviation that may be 0.

`normal_pdf` and `standardize` take numbers of any kind and check them. The others are for formulas whose arguments have been
checked: they take float arrays of one dtype, and check nothing.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.scipy.special import erf, log_ndtr, ndtr
from jaxtyping import Array, Float, Real

from .arguments import ArrayLike, at_least, takes
from .roots import square_root

Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together
Floats = Float[Array, "*shape"]


@takes()
def normal_pdf(x: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """phi(x), the standard normal density.

    >>> round(float(normal_pdf(0)), 6)
    0.398942
    """
    return pdf(x)


@takes(std=at_least(0))
def standardize(value: Numbers, std: Numbers) -> Float[Array, "*shape"]:
    """value/std held within +-40, where phi is 0 and Phi 0 or 1 to the last bit: finite down to std = 0, and 0 for 0/0.

    The slopes are those of value/std within the bounds, and 0 on and beyond them.

    >>> standardize([3, 1, -1, 0], [2, 0, 0, 0]).tolist()
    [1.5, 40.0, -40.0, 0.0]
    """
    return standardized(*jnp.broadcast_arrays(value, std))


def pdf(x: Floats) -> Floats:
    """phi(x).

    >>> round(float(pdf(jnp.array(1.0))), 6)
    0.241971
    """
    return jnp.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


@jax.custom_jvp
def pdf_difference(x: Floats, y: Floats) -> Floats:
    """phi(x) - phi(y), with its digits where they are close, near 0 as in the tails.

    >>> round(float(1e10 * pdf_difference(jnp.array(1e-5), jnp.array(2e-5))), 6)  # 3/2 phi(0)
    0.598413
    """
    nearer = jnp.abs(x) <= jnp.abs(y)
    near, far = jnp.where(nearer, x, y), jnp.where(nearer, y, x)
    difference = -pdf(near) * jnp.expm1((near - far) * (near + far) / 2)
    return jnp.where(nearer, difference, -difference)


@pdf_difference.defjvp
def _pdf_difference_jvp(primals, tangents):
    x, y = primals
    return pdf_difference(x, y), y * pdf(y) * tangents[1] - x * pdf(x) * tangents[0]


def cdf(x: Floats) -> Floats:
    """Phi(x), to absolute precision.

    >>> float(cdf(jnp.array(0.0)))
    0.5
    """
    return (1 + signed_mass(x)) / 2


def signed_mass(x: Floats) -> Floats:
    """2 Phi(x) - 1, in one form everywhere so that XLA computes each erf once: it costs as much as the nodes of Owen's T.

    >>> round(float(signed_mass(jnp.array(1.0))), 6)
    0.682689
    """
    return erf(x / math.sqrt(2))


def log_cdf(x: Floats) -> Floats:
    """ln Phi(x), with its digits on both sides: above 0 it is small.

    >>> round(float(1e15 * log_cdf(jnp.array(8.0))), 4)
    -0.6221
    """
    above, below = jnp.maximum(x, 0), jnp.minimum(x, 0)
    return jnp.where(x > 0, jnp.log1p(-ndtr(-above)), log_ndtr(below))


def inverse_mills(x: Floats) -> Floats:
    """phi(x)/Phi(x); below -8 by its continued fraction, of which twelve terms leave 2e-15.

    >>> round(float(inverse_mills(jnp.array(0.0))), 6)  # sqrt(2/pi)
    0.797885
    """
    near = jnp.maximum(x, -8)
    far, fraction = _mills_fraction(x)
    return jnp.where(x < -8, far + 1 / fraction, jnp.exp(-(near**2) / 2 - math.log(2 * math.pi) / 2 - log_ndtr(near)))


def inverse_mills_excess(x: Floats) -> Floats:
    """phi(x)/Phi(x) + x > 0, about 1/|x| far below 0, where no digits are left in the sum.

    >>> round(float(inverse_mills_excess(jnp.array(-1e9))), 12)
    1e-09
    """
    return jnp.where(x < -8, 1 / _mills_fraction(x)[1], inverse_mills(x) + x)


def _mills_fraction(x: Floats) -> tuple[Floats, Floats]:
    """|x| and f of phi/Phi = |x| + 1/f, f = |x| + 2/(|x| + 3/(..)), at x < -8."""
    far = jnp.maximum(-x, 8)
    return far, functools.reduce(lambda rest, k: far + k / rest, range(12, 1, -1), far)


@jax.custom_jvp
def standardized(value: Floats, std: Floats) -> Floats:
    """value/std as `standardize` gives it.

    >>> standardized(jnp.array([3.0, 1.0]), jnp.array([2.0, 0.0])).tolist()
    [1.5, 40.0]
    """
    inside = jnp.abs(value) < 40 * std
    return jnp.where(inside, value / jnp.where(inside, std, 1), 40 * jnp.sign(value))


@standardized.defjvp
def _standardized_jvp(primals, tangents):
    """(dvalue - ratio dstd)/std: neither a square of std, which may leave the range of numbers, nor a floor below it."""
    value, std = primals
    inside = jnp.abs(value) < 40 * std
    ratio = standardized(value, std)
    return ratio, jnp.where(inside, (tangents[0] - ratio * tangents[1]) / jnp.where(inside, std, 1), 0)


def conditional(h: Floats, k: Floats, correlation: Floats) -> tuple[Floats, Floats, Floats]:
    """q, (k - rho h)/q and (h - rho k)/q, without cancellation near rho = +-1; the last two within +-40.

    >>> [round(float(value), 3) for value in conditional(jnp.array(1.0), jnp.array(2.0), jnp.array(0.6))]
    [0.8, 1.75, -0.25]
    """
    rho = jnp.clip(correlation, -1, 1)
    sign = jnp.where(rho < 0, -1.0, 1.0).astype(rho.dtype)
    q = square_root((1 - rho) * (1 + rho))
    # At rho = +-1 the two are infinite and opposite, with the sign of k -+ h. If that is rounding it counts as 0: XLA computes
    # h and k anew in each fused loop that wants them, rounded otherwise, so that 1e-17 would be +40 in one and -40 in another.
    difference = k - sign * h
    difference = jnp.where(jnp.abs(difference) <= 4 * jnp.finfo(q.dtype).eps * (jnp.abs(h) + jnp.abs(k)), 0, difference)
    u, v = difference + (sign - rho) * h, (sign - rho) * k - sign * difference
    return q, standardized(u, q), standardized(v, q)
