"""Special functions that jax lacks, or whose version in jax overflows, is slow or has a wrong derivative.

All take float arrays, elementwise.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special
from jaxtyping import Array, Float

from . import quadrature
from .derivatives import reciprocal
from .normal import signed_mass
from .roots import square_root

Floats = Float[Array, "*shape"]


def scaled_ei(x: Floats) -> Floats:
    """e^-x Ei(x), x >= 0: its series of positive terms up to 40, then the asymptotic one, whose smallest term there is e^-40.

    jax.scipy.special.expi is as accurate, but overflows, is NaN at 0 and takes five times as long to compile.

    >>> round(float(scaled_ei(jnp.array(1.0))), 6)
    0.697175
    """
    below, above = jnp.minimum(x, 40), jnp.maximum(x, 40)

    def add(i: Array, state: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        k = (i + 1).astype(x.dtype)
        term = state[0] * below / k
        return term, state[1] + term / k

    # sum_k x^k/(k k!); at 40 the 120th term is e^-15, of a sum e^36
    _, total = jax.lax.fori_loop(0, 120, add, (jnp.ones_like(x), jnp.zeros_like(x)))
    inner = jnp.exp(-below) * (np.euler_gamma + jnp.log(below) + total)
    # 1 + 1/x (1 + 2/x (1 + 3/x (...)))
    series = jax.lax.fori_loop(0, 40, lambda i, r: 1 + (40 - i).astype(x.dtype) / above * r, jnp.ones_like(x))
    return jnp.where(x < 40, inner, series / above)


# k-th coefficient of gamma_Euler + ln x + E1(x) = x - x^2/(2 2!) + x^3/(3 3!) - ...; at x = 1.5 the 25th term is 1e-21
_EIN = [(-1) ** (k + 1) / (k * math.factorial(k)) for k in range(24, 0, -1)] + [0.0]


def scaled_e1(x: Floats) -> Floats:
    """e^x E1(x), x > 0: series up to 1.5, from there on the continued fraction, at a depth that is within 1e-15 at 1.5.

    jax.scipy.special.exp1 does not end on the array [1e-8, 0.5] (jax 0.10.2), and underflows at large arguments.

    >>> round(float(scaled_e1(jnp.array(1.0))), 6)
    0.596347
    """
    below, above = jnp.minimum(x, 1.5), jnp.maximum(x, 1.5)
    inner = jnp.exp(below) * (jnp.polyval(jnp.asarray(_EIN, x.dtype), below) - np.euler_gamma - jnp.log(below))

    def fraction(i: Array, r: Floats) -> Floats:
        k = (60 - i).astype(x.dtype)
        return k**2 / (above + 2 * k + 1 - r)

    return jnp.where(x < 1.5, inner, 1 / (above + 1 - jax.lax.fori_loop(0, 60, fraction, jnp.zeros_like(x))))


@jax.custom_jvp
def i0(x: Floats) -> Floats:
    """The modified Bessel function I_0, with its slope I_1: jax's own is 1 at 0.

    >>> round(float(i0(jnp.array(1.0))), 5), float(jax.grad(i0)(jnp.array(0.0)))
    (1.26607, 0.0)
    """
    return special.i0(x)


i0.defjvps(lambda tangent, _, x: special.i1(x) * tangent)


def owen_t(h: Floats, u: Floats) -> Floats:
    """T(h, u/h); h = 0 counts as h > 0.

    By T(h, u/h) + T(u, h/u) = [1 - erf(h/sqrt 2) erf(u/sqrt 2)]/4 for h, u > 0, the integral is taken up to a <= 1 only.

    >>> round(float(owen_t(jnp.array(1.0), jnp.array(0.5))), 6)
    0.043065
    """
    near, far = jnp.minimum(jnp.abs(h), jnp.abs(u)), jnp.maximum(jnp.abs(h), jnp.abs(u))
    a = near / far
    square, exponent = a**2, -(far**2) / 2
    # The integrand is even, bounded by 1 in |Im x| < 1, and has poles at +-i. So 2 m nodes on [-a, a], |a| <= 1, err by about
    # (1 + sqrt 2)^(-4 m) at every h: 7e-19 for m = 12, 7e-10 for m = 6.
    m = 12 if h.dtype == jnp.float64 else 6
    roots, weights = (jnp.asarray(part[m:], h.dtype) for part in quadrature.legendre(2 * m))

    def add_node(j: Array, total: Floats) -> Floats:  # a loop over nodes, as an axis of them would not fit beside the rest
        y = 1 + roots[j] ** 2 * square
        return total + weights[j] * jnp.exp(exponent * y) / y

    inner = a / math.pi * jax.lax.fori_loop(0, len(weights), add_node, jnp.zeros_like(a))
    outer = (1 - jnp.abs(signed_mass(h) * signed_mass(u))) / 4 - inner
    return jnp.where((h < 0) == (u < 0), 1, -1).astype(h.dtype) * jnp.where(jnp.abs(u) <= jnp.abs(h), inner, outer)


# arcsin(sqrt z)/sqrt z on [0, 1/4] as a polynomial in t = 8 z - 1, from degree 0 on: the power series, rewritten in Chebyshev's
# polynomials of t, cut, and rewritten in powers of t, all in fractions. The singularity at z = 1 is at t = 7: the error of
# degree n falls as (7 + sqrt 48)^(-n), 1e-16 for n = 14.
_ARCSINE = {
    7: (
        1.0221005752339025,
        0.023472196191863654,
        0.0014859420479496242,
        0.00012529324451606,
        1.2114081160502565e-05,
        1.2695319116349686e-06,
        1.4421982391723943e-07,
        1.6629070624701518e-08,
    ),
    14: (
        1.0221005752492498,
        0.023472196200223883,
        0.0014859415578624012,
        0.00012529313330727362,
        1.2116523075676493e-05,
        1.269930704204092e-06,
        1.403398697507623e-07,
        1.6101478103641793e-08,
        1.899701165712721e-09,
        2.2903678931362214e-10,
        2.809344780211148e-11,
        3.4891079805875496e-12,
        4.3899163441849076e-13,
        5.951024801284032e-14,
        7.667050374941085e-15,
    ),
}


@jax.custom_jvp
@jax.jit
def arcsine(x: Floats) -> Floats:
    """arcsin of x clipped to +-1, to about an ulp; on CPUs three to seven (float32: thirty) times faster than jnp.arcsin.

    For |x| > 1/2 by arcsin |x| = pi/2 - 2 arcsin sqrt((1 - |x|)/2).

    >>> round(float(arcsine(jnp.array(0.5))), 6)
    0.523599
    """
    return arcsine_by_complement(x, (1 - jnp.minimum(jnp.abs(x), 1)) / 2)


def arcsine_by_complement(x: Floats, complement: Floats) -> Floats:
    """arcsin x, from x and (1 - |x|)/2, which is used near |x| = 1, where x has too few digits.

    >>> round(float(arcsine_by_complement(jnp.array(1.0), jnp.array(0.0))), 6)
    1.570796
    """
    size = jnp.minimum(jnp.abs(x), 1)
    small = size <= 0.5
    z = jnp.where(small, size**2, complement)
    t, total = 8 * z - 1, jnp.zeros_like(z)
    for coefficient in reversed(_ARCSINE[14 if x.dtype == jnp.float64 else 7]):
        total = total * t + coefficient
    angle = jnp.where(small, size, jnp.sqrt(z)) * total
    return jnp.where(x < 0, -1, 1).astype(x.dtype) * jnp.where(small, angle, math.pi / 2 - 2 * angle)


arcsine.defjvps(lambda tangent, _, x: reciprocal(square_root(jnp.maximum((1 - x) * (1 + x), 0))) * tangent)
