r"""Jointly Gaussian pairs: orthant probabilities, products of ReLUs, Hermite series and dual activations.

Formula. For standard normal $A$, $B$ of correlation $\rho$, with $q = \sqrt{1 - \rho^2}$, $\phi$ and $\Phi$ the normal density
and distribution function, the pair has the density $\phi_2$ and the distribution function $\Phi_2$, by Owen's function $T$,

$$
\begin{align*}
\phi_2 &= \frac{1}{2\pi q}\, \exp\left(-\frac{h^2 - 2\rho h k + k^2}{2 q^2}\right) \\
\Phi_2(h, k; \rho) &= P(A \le h, B \le k) \\
&= \frac{\Phi(h) + \Phi(k)}{2} - T\left(h, \frac{k/h - \rho}{q}\right) - T\left(k, \frac{h/k - \rho}{q}\right)
    - \frac{\mathbf{1}[h k < 0]}{2} \\
T(h, a) &= \frac{1}{2\pi} \int_0^a \frac{e^{-h^2 (1 + x^2)/2}}{1 + x^2}\, dx
\end{align*}
$$

The means $J_0$ of $\mathbf{1}[A > 0]\, \mathbf{1}[B > 0]$, $J_1$ of $\operatorname{relu}(A) \operatorname{relu}(B)$ and $J_2$
of $\operatorname{relu}(A)^2 \operatorname{relu}(B)^2$ are

$$
\begin{align*}
J_0 &= \frac{1}{4} + \frac{\arcsin\, \rho}{2\pi} \\
J_1 &= \frac{q + \left(\frac{\pi}{2} + \arcsin\, \rho\right) \rho}{2\pi}, \qquad \frac{dJ_1}{d\rho} = J_0 \\
J_2 &= \frac{3 q \rho + \left(\frac{\pi}{2} + \arcsin\, \rho\right) (1 + 2\rho^2)}{2\pi}, \qquad \frac{dJ_2}{d\rho} = 4 J_1
\end{align*}
$$

For means $m_i$ and standard deviations $s_i$, $h = m_1/s_1$, $k = m_2/s_2$,

$$
\begin{align*}
\mathbb{E} \operatorname{relu}(A) \operatorname{relu}(B)
    &= (m_1 m_2 + \rho s_1 s_2)\, \Phi_2(h, k; \rho) \\
&\quad + m_1 s_2\, \phi(k)\, \Phi\left(\frac{h - \rho k}{q}\right)
    + m_2 s_1\, \phi(h)\, \Phi\left(\frac{k - \rho h}{q}\right) \\
&\quad + s_1 s_2 q^2\, \phi_2(h, k; \rho)
\end{align*}
$$

and for centred $A$, $B$ of variances $v_i$ and covariance $c$, $K(v_1, v_2, c) = \mathbb{E} f(A) f(B)$ has, for every $f$,

$$
\begin{align*}
\frac{\partial K}{\partial c} &= \mathbb{E} f'(A) f'(B) \\
\frac{\partial K}{\partial v_1} &= \frac{\mathbb{E} A f'(A) f(B) - c\, \mathbb{E} f'(A) f'(B)}{2 v_1} \\
K(1, 1, \rho) &= \sum_k c_k^2 \rho^k
\end{align*}
$$

Regime. Exact for every correlation in $[-1, 1]$ and variance $\ge 0$. Correlations beyond $\pm 1$ by rounding, up to $10^{-5}$,
count as $\pm 1$, and what lies further out is refused; so are covariances beyond $\sqrt{v_1 v_2}$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\rho$ | `correlation` | any | correlation of $A$ and $B$ |
| $h$, $k$ | `h`, `k` | any | thresholds, in standard deviations |
| $m_i$, $s_i$ | `mean_i`, `std_i` | any | mean and standard deviation |
| $v_i$, $c$ | `variance_i`, `covariance` | any | second moments of a centred pair |
| $J_n$ ($\cos = \rho$) | `arc_cosine(n, rho)` | any | $J_n$ of Cho and Saul, over $2\pi$ |
| $f$, $f'$ | `activation_fn` | elementwise | activation and its derivative |
| $c_k$ | `hermite_coefficients` | `term` | $\mathbb{E} f(Z)\, \mathrm{He}_k(Z)/\sqrt{k!}$ |
| $\mathbb{E} f f$, $\mathbb{E} f' f'$ | `Activation.dual`, `.derivative_dual` | any | what NNGP and NTK take of an activation |

Factors. `arc_cosine(1, 1)` is $\mathbb{E} \operatorname{relu}(Z)^2 = 1/2$: no He factor 2. Hermite polynomials are orthonormal
under $N(0, 1)$.

Source. D. B. Owen, "Tables for computing bivariate normal probabilities", 1956, doi 10.1214/aoms/1177728074 ($T$, and
$\Phi_2$ by it); Y. Cho, L. K. Saul, "Kernel methods for deep learning", 2009,
papers.nips.cc/paper/3628-kernel-methods-for-deep-learning ($J_n$); C. K. I. Williams, "Computing with infinite networks",
1996, papers.nips.cc/paper/1197-computing-with-infinite-networks (erf); the derivatives in $c$ are Price's theorem (doi
10.1109/TIT.1958.1057444). All recalled, and checked here against numerical integrals, not re-read. Derived here: the ReLU
product with means, $\partial K/\partial v$ by parts, the symmetric quadrature.

Finite size. None. In float64 the errors found are below 5e-16 for $\Phi_2$ and `arc_cosine`, over all correlations to
$\pm 1$ (absolute: no relative accuracy is kept far in the tails), and below 5e-16 of $(|m_1| + s_1)(|m_2| + s_2)$ for the ReLU
product. In float32 they are 2e-7. The duals of erf, cosine, sine and the Gaussian keep their relative accuracy at variances
from 1e-12 to 1e12, also where the correlation is 1.

Example. $\mathbb{E} \operatorname{relu}(A) \operatorname{relu}(B)$ at correlations $-1$, 0 and 1 is 0, $1/(2\pi)$ and 1/2; the
Hermite series gives the value between.

>>> from closedform.theory.gaussian import activations as gaussian
>>> [round(float(gaussian.arc_cosine(1, rho)), 4) for rho in (-1.0, 0.0, 0.5, 1.0)]
[0.0, 0.1592, 0.3045, 0.5]
>>> import jax
>>> coefficients = gaussian.hermite_coefficients(jax.nn.relu, 20)
>>> round(float(gaussian.hermite_dual(coefficients, 0.5)), 4)
0.3045
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.special import erf as error_function
from jax.scipy.special import ndtr
from jaxtyping import Array, Float, Real

from ..numerics.arguments import FINITE, ArrayLike, Range, as_floats, at_least, between, require, takes
from ..numerics.roots import square_root

Number = Real[ArrayLike, ""]
Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together
Floats = Float[Array, "*shape"]
DualFn = Callable[[Numbers, Numbers, Numbers], Float[Array, "..."]]  # of variance_1, variance_2, covariance
ElementwiseFn = Callable[[Float[Array, "..."]], Float[Array, "..."]]

ROUNDING = 1e-5  # what a correlation may exceed 1 by, as a sum of 1e4 products in float32 may: it counts as 1
CORRELATION = between(-1 - ROUNDING, 1 + ROUNDING)
FINITE_SIZE = at_least(0, finite=True)
ANY = Range()  # infinity too, but not NaN


# ------------------------------------------------------------------------------------------------- bivariate normal


@takes(h=ANY, k=ANY, correlation=CORRELATION)
def bivariate_normal_cdf(h: Numbers, k: Numbers, correlation: Numbers) -> Float[Array, "*shape"]:
    """Phi_2(h, k; rho) = P(A <= h, B <= k) for standard normal A, B; Owen's formula, elementwise.

    Thresholds may be infinite. Differentiable. At |rho| = 1 its slope in rho is 0, or infinite on h = rho k; there too 0 is
    returned.

    >>> [round(float(bivariate_normal_cdf(0.0, 0.0, rho)), 6) for rho in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    [0.0, 0.166667, 0.25, 0.333333, 0.5]
    """
    x, y, rho = _together(h, k, correlation)
    return _bivariate_normal_cdf(jnp.clip(x, -40, 40), jnp.clip(y, -40, 40), rho)


# compiled here, and so below: on large arrays one pass through memory also for a caller who does not compile
@jax.custom_jvp
@jax.jit
def _bivariate_normal_cdf(h: Floats, k: Floats, correlation: Floats) -> Floats:
    # at h = k = 0 the two T depend on the direction from which that point is reached, their sum does not
    origin = (h == 0) & (k == 0)
    h, k = jnp.where(origin, 1e-30, h), jnp.where(origin, 1e-30, k)
    _, u, v = _conditional(h, k, correlation)
    half = jnp.where((h < 0) == (k < 0), 0.0, 0.5).astype(h.dtype)
    return jnp.maximum((_cdf(h) + _cdf(k)) / 2 - _owen_t(h, u) - _owen_t(k, v) - half, 0)


@_bivariate_normal_cdf.defjvp
def _bivariate_normal_cdf_jvp(primals, tangents):
    h, k, correlation = primals
    q, u, v = _conditional(h, k, correlation)
    slopes = _pdf(h) * _cdf(u), _pdf(k) * _cdf(v), _reciprocal(q) * _pdf(h) * _pdf(u)
    return _bivariate_normal_cdf(*primals), _directional(slopes, tangents)


def _conditional(h: Floats, k: Floats, correlation: Floats) -> tuple[Floats, Floats, Floats]:
    """q, (k - rho h)/q and (h - rho k)/q, without cancellation near rho = +-1; the last two within +-40."""
    rho = jnp.clip(correlation, -1, 1)
    sign = jnp.where(rho < 0, -1.0, 1.0).astype(rho.dtype)
    q = square_root((1 - rho) * (1 + rho))
    # At rho = +-1 the two are infinite and opposite, by the sign of k -+ h. Where that is rounding it counts as 0: XLA computes
    # h and k anew in each fused loop that wants them, rounded otherwise, so that 1e-17 would be +40 in one and -40 in another.
    difference = k - sign * h
    difference = jnp.where(jnp.abs(difference) <= 4 * jnp.finfo(q.dtype).eps * (jnp.abs(h) + jnp.abs(k)), 0, difference)
    u, v = difference + (sign - rho) * h, (sign - rho) * k - sign * difference
    return q, _standardized(u, q), _standardized(v, q)


# The integrand of T is even, bounded by 1 in |Im x| < 1, and has poles at +-i. So 2 m nodes on [-a, a], |a| <= 1, err by
# about (1 + sqrt 2)^(-4 m) at every h: 7e-19 for m = 12, 7e-10 for m = 6.
_OWEN_RULE = {m: [part[m:] for part in np.polynomial.legendre.leggauss(2 * m)] for m in (6, 12)}


def _owen_t(h: Floats, u: Floats) -> Floats:
    """T(h, u/h); h = 0 counts as h > 0.

    By T(h, u/h) + T(u, h/u) = [1 - erf(h/sqrt 2) erf(u/sqrt 2)]/4 for h, u > 0, the integral is taken up to a <= 1 only.
    """
    near, far = jnp.minimum(jnp.abs(h), jnp.abs(u)), jnp.maximum(jnp.abs(h), jnp.abs(u))
    a = near / far
    square, exponent = a**2, -(far**2) / 2
    roots, weights = (jnp.asarray(part, h.dtype) for part in _OWEN_RULE[12 if h.dtype == jnp.float64 else 6])

    def add_node(j: Array, total: Floats) -> Floats:  # a loop over nodes, as an axis of them would not fit beside the rest
        y = 1 + roots[j] ** 2 * square
        return total + weights[j] * jnp.exp(exponent * y) / y

    inner = a / (2 * math.pi) * jax.lax.fori_loop(0, len(weights), add_node, jnp.zeros_like(a))
    outer = (1 - jnp.abs(_signed_mass(h) * _signed_mass(u))) / 4 - inner
    return jnp.where((h < 0) == (u < 0), 1, -1).astype(h.dtype) * jnp.where(jnp.abs(u) <= jnp.abs(h), inner, outer)


def _signed_mass(x: Floats) -> Floats:
    """2 Phi(x) - 1. XLA's erf costs as much as the nodes: each is written alike, to be computed once."""
    return error_function(x / math.sqrt(2))


def _cdf(x: Floats) -> Floats:
    """Phi(x), to absolute precision."""
    return (1 + _signed_mass(x)) / 2


def _directional(slopes: Sequence[Floats], tangents: Sequence[Floats]) -> Floats:
    total = slopes[0] * tangents[0]
    for slope, tangent in zip(slopes[1:], tangents[1:], strict=True):
        total = total + slope * tangent
    return total


# -------------------------------------------------------------------------------------------------- moments of ReLUs


@takes(degree=between(0, 2), correlation=CORRELATION)
def arc_cosine(degree: int, correlation: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """J_degree = E relu(A)^degree relu(B)^degree for standard normal A, B; degree 0 (steps), 1 or 2.

    Exact and with exact slopes at +-1; that of degree 0 is infinite there, and 0 is returned: it multiplies the vanishing
    slope of the correlation of x with itself.

    >>> [round(float(arc_cosine(1, c)), 6) for c in (-1.0, 0.0, 1.0)], float(arc_cosine(0, 1.0)), float(arc_cosine(2, 1.0))
    ([0.0, 0.159155, 0.5], 0.5, 1.5)
    """
    (rho,) = _together(correlation)
    return (_step_product, _relu_product_centred, _square_product)[degree](rho)


@takes(mean_1=FINITE, mean_2=FINITE, std_1=FINITE_SIZE, std_2=FINITE_SIZE, correlation=CORRELATION)
def relu_product(
    mean_1: Numbers, mean_2: Numbers, std_1: Numbers, std_2: Numbers, correlation: Numbers
) -> Float[Array, "*shape"]:
    """E relu(A) relu(B) for a Gaussian pair of any means, std >= 0 and |correlation| <= 1, elementwise.

    For zero means std_1 std_2 arc_cosine(1, rho), which is faster. Errors as in "Finite size" above; (|m_1| + s_1)(|m_2| + s_2)
    must be a number of the dtype: below 3e38 in float32.

    >>> round(float(relu_product(0.3, -0.5, 1.0, 0.7, 0.6)), 6)
    0.131286
    """
    return _relu_product(*_together(mean_1, mean_2, std_1, std_2, correlation))


@takes(mean=ANY, std=FINITE_SIZE)
def relu_mean(mean: Numbers, std: Numbers) -> Float[Array, "*shape"]:
    """E relu(m + s Z) = m Phi(m/s) + s phi(m/s), for s >= 0; the mean may be infinite.

    Errors found are below 2e-16 of |m| + s, in float32 1e-7. Relative to the mean itself, which falls as exp(-m^2/(2 s^2)) in
    the tail, they are 2e-12 down to m = -10 s and 3e-10 to -37 s; in float32 1e-5 to -3 s and 2e-3 to -12 s.

    >>> round(float(relu_mean(0.0, 1.0)), 6), float(relu_mean(2.0, 0.0)), float(relu_mean(-2.0, 0.0))
    (0.398942, 2.0, 0.0)
    """
    m, s = _together(mean, std)
    infinite = jnp.isinf(m)
    return jnp.where(infinite, jnp.maximum(m, 0), _relu_mean(jnp.where(infinite, 0, m), s))


def _relu_mean(m: Floats, s: Floats) -> Floats:
    ratio = _standardized(m, s)
    return m * ndtr(ratio) + s * _pdf(ratio)


@jax.custom_jvp
@jax.jit
def _relu_product(mean_1: Floats, mean_2: Floats, std_1: Floats, std_2: Floats, correlation: Floats) -> Floats:
    rho, h, k, q, u, v = _standard_pair(mean_1, mean_2, std_1, std_2, correlation)
    second = (mean_1 * mean_2 + rho * std_1 * std_2) * _bivariate_normal_cdf(h, k, rho)
    edges = mean_1 * std_2 * _pdf(k) * _cdf(v) + mean_2 * std_1 * _pdf(h) * _cdf(u)
    total = second + edges + std_1 * std_2 * q * _pdf(h) * _pdf(u)  # q phi_2 = phi(h) phi(u)
    return jnp.maximum(total, 0)  # far in the tail only rounding is left


@_relu_product.defjvp
def _relu_product_jvp(primals, tangents):
    """By parts: d/dm_1 = E 1[A > 0] relu(B), d/ds_1 = phi(h) E[relu(B) | A = 0] + rho s_2 Phi_2, d/drho = s_1 s_2 Phi_2.

    Given A = 0, B has mean m_2 - rho s_2 h and deviation s_2 q: of the thresholds held within +-40 only h enters, where
    phi(h) is 0 unless it is m_1/s_1.
    """
    mean_1, mean_2, std_1, std_2, _ = primals
    rho, h, k, q, u, v = _standard_pair(*primals)
    orthant = _bivariate_normal_cdf(h, k, rho)
    edge_1, edge_2 = _pdf(h) * _cdf(u), _pdf(k) * _cdf(v)
    slopes = (
        mean_2 * orthant + std_2 * (edge_2 + rho * edge_1),
        mean_1 * orthant + std_1 * (edge_1 + rho * edge_2),
        _pdf(h) * _relu_mean(mean_2 - rho * std_2 * h, std_2 * q) + rho * std_2 * orthant,
        _pdf(k) * _relu_mean(mean_1 - rho * std_1 * k, std_1 * q) + rho * std_1 * orthant,
        std_1 * std_2 * orthant,
    )
    return _relu_product(*primals), _directional(slopes, tangents)


def _standard_pair(mean_1: Floats, mean_2: Floats, std_1: Floats, std_2: Floats, correlation: Floats):
    h, k = _standardized(mean_1, std_1), _standardized(mean_2, std_2)
    return jnp.clip(correlation, -1, 1), h, k, *_conditional(h, k, correlation)


def _step_product(rho: Floats) -> Floats:
    return (math.pi / 2 + _arcsine(rho)) / (2 * math.pi)


@jax.custom_jvp
@jax.jit
def _relu_product_centred(rho: Floats) -> Floats:
    c = jnp.clip(rho, -1, 1)
    return (square_root((1 - c) * (1 + c)) + (math.pi / 2 + _arcsine(c)) * c) / (2 * math.pi)


@jax.custom_jvp
@jax.jit
def _square_product(rho: Floats) -> Floats:
    c = jnp.clip(rho, -1, 1)
    return (3 * c * square_root((1 - c) * (1 + c)) + (math.pi / 2 + _arcsine(c)) * (1 + 2 * c**2)) / (2 * math.pi)


_relu_product_centred.defjvps(lambda tangent, _, rho: _step_product(rho) * tangent)
_square_product.defjvps(lambda tangent, _, rho: 4 * _relu_product_centred(rho) * tangent)


def _arcsine_series(degree: int) -> tuple[float, ...]:
    """arcsin(sqrt z)/sqrt z on [0, 1/4] as a polynomial in 8 z - 1, by interpolation at Chebyshev's points."""
    polynomial = np.polynomial.chebyshev.Chebyshev.interpolate(
        lambda t: np.arcsin(np.sqrt((t + 1) / 8)) / np.sqrt((t + 1) / 8), degree
    )
    return tuple(np.polynomial.chebyshev.cheb2poly(polynomial.coef).tolist())


# The singularity at z = 1 is at t = 7: the error of degree n falls as (7 + sqrt 48)^(-n), 1e-16 for n = 14.
_ARCSINE = {degree: _arcsine_series(degree) for degree in (7, 14)}


@jax.custom_jvp
@jax.jit
def _arcsine(x: Floats) -> Floats:
    """arcsin of x clipped to +-1, to about an ulp; on CPUs three to seven (float32: thirty) times faster than jnp.arcsin.

    For |x| > 1/2 by arcsin |x| = pi/2 - 2 arcsin sqrt((1 - |x|)/2).
    """
    return _angle(x, (1 - jnp.minimum(jnp.abs(x), 1)) / 2)


def _angle(x: Floats, complement: Floats) -> Floats:
    """arcsin x, given also (1 - |x|)/2: it decides near |x| = 1, where x has lost it."""
    size = jnp.minimum(jnp.abs(x), 1)
    small = size <= 0.5
    z = jnp.where(small, size**2, complement)
    t, total = 8 * z - 1, jnp.zeros_like(z)
    for coefficient in reversed(_ARCSINE[14 if x.dtype == jnp.float64 else 7]):
        total = total * t + coefficient
    angle = jnp.where(small, size, jnp.sqrt(z)) * total
    return jnp.where(x < 0, -1, 1).astype(x.dtype) * jnp.where(small, angle, math.pi / 2 - 2 * angle)


_arcsine.defjvps(lambda tangent, _, x: _reciprocal(square_root(jnp.maximum((1 - x) * (1 + x), 0))) * tangent)


def _reciprocal(x: Floats) -> Floats:
    """1/x, and 0 at 0."""
    nonzero = x != 0
    return jnp.where(nonzero, 1 / jnp.where(nonzero, x, 1), 0)


# ---------------------------------------------------------------------------------------------------- Hermite series


@takes(num_terms=at_least(1))
def hermite_coefficients(activation_fn: ElementwiseFn, num_terms: int, kinks: Iterable[Any] = (0.0,)) -> Float[Array, "term"]:
    """c_k = E f(Z) h_k(Z), k < num_terms, h_k = He_k/sqrt(k!) orthonormal under N(0, 1); f works elementwise.

    Gauss-Legendre between the `kinks`, the points at which f is not smooth, and +-13. Errors found: 2e-15 for relu and
    3e-15 for the step in 200 terms, 3e-14 for exp(z/2). A kink that is not named costs accuracy: 7e-5 for relu(z - 1).

    >>> [round(float(c), 6) for c in hermite_coefficients(lambda x: jnp.maximum(x, 0), 3)]
    [0.398942, 0.5, 0.282095]
    """
    at = np.sort(np.asarray([*kinks], float))
    require(FINITE, kinks=at)
    nodes, weights = _hermite_rule(num_terms, np.clip(at, -13, 13))
    values = jnp.broadcast_to(jnp.asarray(activation_fn(jnp.asarray(nodes, float)), float), nodes.shape)  # steps, constants
    return jnp.sum(jnp.asarray(weights, float) * values[None], axis=1)


@takes(coefficients=FINITE, correlation=CORRELATION)
def hermite_dual(coefficients: Real[ArrayLike, "term"], correlation: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """E f(A) f(B) = sum_k c_k^2 rho^k, for standard normal A, B and f = sum_k c_k h_k.

    >>> float(hermite_dual(jnp.array([1.0, 0.0, 2.0]), 0.5))
    2.0
    """
    squares = coefficients[::-1] ** 2
    start = jnp.zeros_like(correlation)
    total, _ = jax.lax.scan(lambda total, square: (total * correlation + square, None), start, squares)
    return total


def _hermite_rule(num_terms: int, kinks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes, and the weights of each h_k at them: (node,) and (term, node)."""
    # |h_k| exp(-z^2/4) < 1 and exp(-13^2/4) < 1e-18: nothing is left beyond 13. h_k oscillates with wave number sqrt k.
    points, weights = np.polynomial.legendre.leggauss(128 + 8 * math.isqrt(num_terms))
    edges = np.array([-13.0, *kinks, 13.0])
    centre, half = (edges[1:] + edges[:-1])[:, None] / 2, np.diff(edges)[:, None] / 2
    z, weight = (centre + half * points).ravel(), (half * weights).ravel()
    rows = [weight * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), np.zeros_like(z)]  # h_0, h_{-1}
    for k in range(num_terms - 1):
        rows.insert(0, (z * rows[0] - math.sqrt(k) * rows[1]) / math.sqrt(k + 1))
    return z, np.array(rows[-2::-1])


# ------------------------------------------------------------------------------------------------------ activations


class Activation(NamedTuple):
    """What infinitely wide layers take of an activation f: elementwise functions of variance_1, variance_2, covariance.

    Variances >= 0 and |covariance| <= sqrt(variance_1 variance_2). Differentiable also for variance 0 and at
    covariance^2 = variance_1 variance_2 (where a slope is infinite: 0).
    """

    dual: DualFn  # E f(A) f(B)
    derivative_dual: DualFn  # E f'(A) f'(B)


def leaky_relu(slope: Any) -> Activation:
    """f(z) = z for z > 0, slope z otherwise: relu for 0, the absolute value for -1, linear for 1.

    Of variances that are both 0 the correlation counts as 1, as of equal numbers; of one that is 0, as 0. The slope is one
    number, which keeps its digits: it takes the dtype of the variances.
    """
    _checked_slope(slope)
    return _leaky_relu(slope)


@takes(slope=FINITE)
def _checked_slope(slope: Number) -> Array:
    return jnp.asarray(slope)


@takes(num_nodes=at_least(2))
def by_quadrature(activation_fn: ElementwiseFn, num_nodes: int = 64) -> Activation:
    """Any smooth elementwise f, by num_nodes^2 evaluations for each entry; f' by jax.grad, dK/dv by parts or f''.

    The trapezoidal rule on |z| <= 9, in both directions of A/s_1 = x cos t + y sin t, B/s_2 = x cos t - y sin t with
    cos 2t = rho: for Gaussians its error falls exponentially, as exp(-4 pi^2/step^2) or, for a pole at +-i p of f, as
    exp(-2 pi p/(s step)). Errors found at variance 1, of K and of its slope in c: for tanh 1e-5 and 1e-4 with 32 nodes,
    4e-13 and 3e-11 with 64; for gelu and sine 1e-15 with 64. For relu 5e-5 and 1e-2: at kinks take a closed form.
    """
    derivative_fn = _elementwise_grad(activation_fn)
    return Activation(*(_closed_form(partial(_pair_quadrature, f, f, num_nodes)) for f in (activation_fn, derivative_fn)))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _pair_quadrature(f: ElementwiseFn, g: ElementwiseFn, num_nodes: int, v1: Floats, v2: Floats, c: Floats) -> Floats:
    """E f(A) g(B)."""
    points = np.linspace(-9, 9, num_nodes)
    weights = np.exp(-(points**2) / 2)
    nodes, shares = jnp.asarray(points, c.dtype), jnp.asarray(weights / weights.sum(), c.dtype)
    rho = _correlation(v1, v2, c)
    cosine, sine_y = square_root((1 + rho) / 2), square_root((1 - rho) / 2)[..., None] * _along_last(nodes, c.ndim)
    s1, s2, y_shares = square_root(v1)[..., None], square_root(v2)[..., None], _along_last(shares, c.ndim)

    def add_node(total: Floats, node: tuple[Array, Array]) -> tuple[Floats, None]:
        x, share = node
        centre = (x * cosine)[..., None]
        inner = jnp.sum(y_shares * f(s1 * (centre + sine_y)) * g(s2 * (centre - sine_y)), axis=-1)
        return total + share * inner, None

    return jax.lax.scan(add_node, jnp.zeros_like(c), (nodes, shares))[0]


@_pair_quadrature.defjvp
def _pair_quadrature_jvp(f, g, num_nodes, primals, tangents):
    """dK/dc = E f' g'; dK/dv_1 = (E A f'(A) g(B) - c E f' g')/(2 v_1), which a kink does not spoil, = E f'' g/2.

    By parts the rounding is eps/sqrt(v_1) of numbers of order 1: below v_1 = eps^(2/3), where it passes eps^(2/3), by f''.
    """
    v1, v2, c = primals
    mean = partial(_pair_quadrature, num_nodes=num_nodes, v1=v1, v2=v2, c=c)
    df, dg = _elementwise_grad(f), _elementwise_grad(g)
    by_c = mean(df, dg)

    def by_variance(v: Floats, other: Floats, by_parts: Floats, smooth: Floats) -> Floats:
        small = v < float(jnp.finfo(v.dtype).eps) ** (2 / 3) * jnp.maximum(other, 1)
        return jnp.where(small, smooth, (by_parts - c * by_c) / jnp.where(small, 1, v)) / 2

    by_v1 = by_variance(v1, v2, mean(lambda z: z * df(z), g), mean(_elementwise_grad(df), g))
    by_v2 = by_variance(v2, v1, mean(f, lambda z: z * dg(z)), mean(f, _elementwise_grad(dg)))
    return mean(f, g), by_v1 * tangents[0] + by_v2 * tangents[1] + by_c * tangents[2]


def _elementwise_grad(f: ElementwiseFn) -> ElementwiseFn:
    return lambda z: jax.jvp(f, (z,), (jnp.ones_like(z),))[1]


def _along_last(x: Float[Array, "n"], ndim: int) -> Float[Array, "..."]:
    return x.reshape((1,) * ndim + x.shape)


def _closed_form(formula_fn: Callable[[Array, Array, Array], Array]) -> DualFn:
    compiled = jax.jit(formula_fn)

    @takes(variance_1=FINITE_SIZE, variance_2=FINITE_SIZE, covariance=FINITE)
    def dual(variance_1: Numbers, variance_2: Numbers, covariance: Numbers) -> Float[Array, "*shape"]:
        require_covariance(variance_1, variance_2, covariance)
        return compiled(*_together(variance_1, variance_2, covariance))

    return dual


# ------------------------------------------------------------------------------------- activations: homogeneous functions


def _geometric_mean(v1: Floats, v2: Floats) -> Floats:
    """sqrt(v_1 v_2): exact where they are equal, and where their product is no number of the dtype."""
    product, limits = v1 * v2, jnp.finfo(v1.dtype)
    usual = (product > float(limits.tiny / limits.eps)) & (product < float(limits.max))
    mean = jnp.where(usual, jnp.sqrt(jnp.where(usual, product, 1)), square_root(v1) * square_root(v2))
    return jnp.where(v1 == v2, v1, mean)


@jax.custom_jvp
def _correlation(v1: Floats, v2: Floats, c: Floats) -> Floats:
    """c/sqrt(v_1 v_2), for 0/0 0, or 1 if both variances are 0.

    Within 4 eps of +-1 it counts as +-1: an error e there costs J_0 sqrt(2 e)/(2 pi).
    """
    scale = _geometric_mean(v1, v2)
    ratio = jnp.where(scale == 0, ((v1 == 0) & (v2 == 0)).astype(c.dtype), c / jnp.where(scale == 0, 1, scale))
    ratio = jnp.where(jnp.isinf(scale) & jnp.isinf(c), jnp.sign(c), ratio)  # moments of deep networks that overflow
    return jnp.where(jnp.abs(ratio) > 1 - 4 * float(jnp.finfo(ratio.dtype).eps), jnp.sign(ratio), ratio)


@_correlation.defjvp
def _correlation_jvp(primals, tangents):
    v1, v2, _ = primals
    rho = _correlation(*primals)
    by_c = _reciprocal(square_root(v1)) * _reciprocal(square_root(v2))
    return rho, by_c * tangents[2] - rho / 2 * (_reciprocal(v1) * tangents[0] + _reciprocal(v2) * tangents[1])


def _deviation_ratio(v1: Floats, v2: Floats) -> Floats:
    """s_1/s_2, and 0 for s_2 = 0."""
    return jnp.where(v1 == v2, (v1 > 0).astype(v1.dtype), square_root(v1) * _reciprocal(square_root(v2)))


@jax.custom_jvp
def _relu_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
    return _geometric_mean(v1, v2) * _relu_product_centred(_correlation(v1, v2, c))


@_relu_dual.defjvp
def _relu_dual_jvp(primals, tangents):
    """d/dc = J_0; d/dv_1 = (J_1 - rho J_0) s_2/(2 s_1) = q s_2/(4 pi s_1)."""
    v1, v2, _ = primals
    rho = _correlation(*primals)
    q = square_root((1 - rho) * (1 + rho)) / (4 * math.pi)
    slopes = q * _deviation_ratio(v2, v1), q * _deviation_ratio(v1, v2), _step_product(rho)
    return _relu_dual(*primals), _directional(slopes, tangents)


@jax.custom_jvp
def _absolute_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
    """E |A| |B| = (2/pi) s_1 s_2 (q + rho arcsin rho), a sum of positive terms."""
    rho = _correlation(v1, v2, c)
    return 2 / math.pi * _geometric_mean(v1, v2) * (square_root((1 - rho) * (1 + rho)) + rho * _arcsine(rho))


@_absolute_dual.defjvp
def _absolute_dual_jvp(primals, tangents):
    v1, v2, _ = primals
    rho = _correlation(*primals)
    q = square_root((1 - rho) * (1 + rho)) / math.pi
    slopes = q * _deviation_ratio(v2, v1), q * _deviation_ratio(v1, v2), 2 / math.pi * _arcsine(rho)
    return _absolute_dual(*primals), _directional(slopes, tangents)


def _leaky_relu(slope: Number) -> Activation:
    """f(z) = (1 + a) z/2 + (1 - a) |z|/2; z and |z| of a centred pair do not correlate."""

    def dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
        v1, v2, c, a = as_floats(v1, v2, c, slope)
        return ((1 + a) / 2) ** 2 * c + ((1 - a) / 2) ** 2 * _absolute_dual(v1, v2, c)

    def derivative_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
        v1, v2, c, a = as_floats(v1, v2, c, slope)
        return ((1 + a) / 2) ** 2 + ((1 - a) / 2) ** 2 * (2 / math.pi * _arcsine(_correlation(v1, v2, c)))

    return Activation(_closed_form(dual), _closed_form(derivative_dual))


relu = Activation(_closed_form(_relu_dual), _closed_form(lambda v1, v2, c: _step_product(_correlation(v1, v2, c))))


@jax.custom_jvp
def _squared_relu_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
    return v1 * v2 * _square_product(_correlation(v1, v2, c))


@_squared_relu_dual.defjvp
def _squared_relu_dual_jvp(primals, tangents):
    """d/dc = 4 s_1 s_2 J_1; d/dv_1 = v_2 (J_2 - 2 rho J_1) = v_2 (J_0 + rho q/(2 pi))."""
    v1, v2, _ = primals
    rho = _correlation(*primals)
    share = _step_product(rho) + rho * square_root((1 - rho) * (1 + rho)) / (2 * math.pi)
    return _squared_relu_dual(*primals), _directional((v2 * share, v1 * share, 4 * _relu_dual(*primals)), tangents)


squared_relu = Activation(  # f(z) = relu(z)^2, of derivative 2 relu(z)
    _closed_form(_squared_relu_dual), _closed_form(lambda v1, v2, c: 4 * _relu_dual(v1, v2, c))
)

# ---------------------------------------------------------------------------------------- activations: bounded functions


def _relative_determinant(v1: Floats, v2: Floats, c: Floats) -> Floats:
    """D/(a_1 a_2) of D = a_1 a_2 - 4 c^2, a_i = 1 + 2 v_i: without the cancellation of v_1 v_2 and c^2.

    D = a_1 + a_2 - 1 + 4 (g - |c|)(g + |c|), g = sqrt(v_1 v_2). Every factor is scaled before it can overflow, by products: of
    quotients of quotients XLA makes quotients by products.
    """
    u1, u2, g, size = 1 / (1 + 2 * v1), 1 / (1 + 2 * v2), _geometric_mean(v1, v2), jnp.abs(c)
    scale = jnp.sqrt(u1) * jnp.sqrt(u2)
    return u1 + (1 - u1) * u2 + 4 * (scale * jnp.maximum(g - size, 0)) * (scale * (g + size))


@jax.custom_jvp
def _gaussian_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
    """D^(-1/2)."""
    return 1 / (jnp.sqrt(1 + 2 * v1) * jnp.sqrt(1 + 2 * v2) * jnp.sqrt(_relative_determinant(v1, v2, c)))


@_gaussian_dual.defjvp
def _gaussian_dual_jvp(primals, tangents):
    """dD/2 = a_2 dv_1 + a_1 dv_2 - 4 c dc, times -D^(-3/2) by factors that stay within the range of numbers."""
    v1, v2, c = primals
    r = _gaussian_dual(*primals)
    slopes = [_times_cube(factor, r) for factor in (-(1 + 2 * v2), -(1 + 2 * v1), 4 * c)]
    return r, _directional(slopes, tangents)


def _times_cube(x: Floats, r: Floats) -> Floats:
    """x r^3, by products that stay in the range of numbers where r^3 does not."""
    return x * r * r * r


@jax.custom_jvp
def _erf_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
    """(2/pi) arcsin x, x = 2 c/sqrt(a_1 a_2), with (1 - |x|)/2 = (1 - x^2)/(2 (1 + |x|)) and 1 - x^2 = D/(a_1 a_2)."""
    x = 2 * c / jnp.sqrt(1 + 2 * v1) / jnp.sqrt(1 + 2 * v2)
    return 2 / math.pi * _angle(x, _relative_determinant(v1, v2, c) / (2 * (1 + jnp.abs(x))))


@_erf_dual.defjvp
def _erf_dual_jvp(primals, tangents):
    """d arcsin x = dx/sqrt(1 - x^2), sqrt(1 - x^2) = sqrt(D/(a_1 a_2)), dx/x = dc/c - dv_1/a_1 - dv_2/a_2."""
    v1, v2, c = primals
    by_c = 4 / math.pi * _gaussian_dual(*primals)
    slopes = -c / (1 + 2 * v1) * by_c, -c / (1 + 2 * v2) * by_c, by_c
    return _erf_dual(*primals), _directional(slopes, tangents)


# E erf(A) erf(B) (Williams 1997), and its derivative in c
erf = Activation(_closed_form(_erf_dual), _closed_form(lambda v1, v2, c: 4 / math.pi * _gaussian_dual(v1, v2, c)))

# f(z) = exp(-z^2): the Gaussian integral, and its derivative in c
gaussian = Activation(
    _closed_form(_gaussian_dual), _closed_form(lambda v1, v2, c: _times_cube(4 * c, _gaussian_dual(v1, v2, c)))
)


# E exp(i(A - B)) = exp(c - m) and E exp(i(A + B)) = exp(-c - m), m = (v_1 + v_2)/2 >= |c|: cos cos is half their sum,
# sin sin half their difference.
def _wave_parts(v1: Floats, v2: Floats, c: Floats) -> tuple[Floats, Floats]:
    """exp(|c| - m)/2 and -2 |c|."""
    size = jnp.abs(c)
    return jnp.exp(((size - v1) + (size - v2)) / 2) / 2, -2 * size


@jax.custom_jvp
def _cosine_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
    half, exponent = _wave_parts(v1, v2, c)
    return half * (1 + jnp.exp(exponent))


@jax.custom_jvp
def _sine_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
    half, exponent = _wave_parts(v1, v2, c)
    return -jnp.sign(c) * half * jnp.expm1(exponent)


@_cosine_dual.defjvp
def _cosine_dual_jvp(primals, tangents):
    value, other = _cosine_dual(*primals), _sine_dual(*primals)
    return value, other * tangents[2] - value / 2 * (tangents[0] + tangents[1])


@_sine_dual.defjvp
def _sine_dual_jvp(primals, tangents):
    value, other = _sine_dual(*primals), _cosine_dual(*primals)
    return value, other * tangents[2] - value / 2 * (tangents[0] + tangents[1])


cosine = Activation(_closed_form(_cosine_dual), _closed_form(_sine_dual))
sine = Activation(cosine.derivative_dual, cosine.dual)


# --------------------------------------------------------------------------------------------- shared with other topics


@takes()
def normal_pdf(x: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """phi(x), the standard normal density."""
    (z,) = _together(x)
    return _pdf(z)


def _pdf(x: Floats) -> Floats:
    return jnp.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


@takes(std=at_least(0))
def standardize(value: Numbers, std: Numbers) -> Float[Array, "*shape"]:
    """value/std held within +-40, where phi is 0 and Phi 0 or 1 to the last bit: finite down to std = 0, and 0 for 0/0.

    The slopes are those of value/std within the bounds, and 0 on and beyond them.
    """
    return _standardized(*_together(value, std))


@jax.custom_jvp
def _standardized(value: Floats, std: Floats) -> Floats:
    inside = jnp.abs(value) < 40 * std
    return jnp.where(inside, value / jnp.where(inside, std, 1), 40 * jnp.sign(value))


@_standardized.defjvp
def _standardized_jvp(primals, tangents):
    """(dvalue - ratio dstd)/std: neither a square of std, which may leave the range of numbers, nor a floor below it."""
    value, std = primals
    inside = jnp.abs(value) < 40 * std
    ratio = _standardized(value, std)
    return ratio, jnp.where(inside, (tangents[0] - ratio * tangents[1]) / jnp.where(inside, std, 1), 0)


def require_covariance(variance_1: Any, variance_2: Any, covariance: Any) -> None:
    """Raises ValueError where values that are known, not traced, have covariance^2 > variance_1 variance_2 beyond rounding."""
    if any(isinstance(value, Tracer) for value in (variance_1, variance_2, covariance)):
        return
    v1, v2, c = (np.asarray(value, float) for value in (variance_1, variance_2, covariance))
    excess = np.abs(c) - (1 + ROUNDING) * np.sqrt(v1) * np.sqrt(v2)
    if np.any(excess > 0):
        worst = np.broadcast_to(c, excess.shape)[np.unravel_index(np.argmax(excess), excess.shape)]
        raise ValueError(f"covariance must be at most sqrt(variance_1 variance_2) in size, got {worst:g}")


def _together(*values: Any) -> list[Array]:
    """As floating arrays of one dtype and of the shape to which they broadcast."""
    return jnp.broadcast_arrays(*as_floats(*values))
