r"""Means of rectified Gaussian numbers: of one number, of the product of a pair of any means, of powers of a centred pair.

Formula. For standard normal $A$, $B$ of correlation $\rho$, with $q = \sqrt{1 - \rho^2}$, the means $J_0$ of
$\mathbf{1}[A > 0]\, \mathbf{1}[B > 0]$, $J_1$ of $\operatorname{relu}(A) \operatorname{relu}(B)$ and $J_2$ of
$\operatorname{relu}(A)^2 \operatorname{relu}(B)^2$ are

$$
\begin{align*}
J_0 &= \frac{1}{4} + \frac{\arcsin\, \rho}{2\pi} \\
J_1 &= \frac{q + \left(\frac{\pi}{2} + \arcsin\, \rho\right) \rho}{2\pi}, \qquad \frac{dJ_1}{d\rho} = J_0 \\
J_2 &= \frac{3 q \rho + \left(\frac{\pi}{2} + \arcsin\, \rho\right) (1 + 2\rho^2)}{2\pi}, \qquad \frac{dJ_2}{d\rho} = 4 J_1
\end{align*}
$$

For means $m_i$ and standard deviations $s_i$, $h = m_1/s_1$, $k = m_2/s_2$, with $\phi$ and $\Phi$ the normal density and
distribution function, $\phi_2$ and $\Phi_2$ those of the pair (see `pairs`),

$$
\begin{align*}
\mathbb{E} \operatorname{relu}(A) &= m_1 \Phi(h) + s_1 \phi(h) \\
\mathbb{E} \operatorname{relu}(A) \operatorname{relu}(B)
    &= (m_1 m_2 + \rho s_1 s_2)\, \Phi_2(h, k; \rho) \\
&\quad + m_1 s_2\, \phi(k)\, \Phi\left(\frac{h - \rho k}{q}\right)
    + m_2 s_1\, \phi(h)\, \Phi\left(\frac{k - \rho h}{q}\right) \\
&\quad + s_1 s_2 q^2\, \phi_2(h, k; \rho)
\end{align*}
$$

Regime. Exact for every correlation in $[-1, 1]$ and standard deviation $\ge 0$. Correlations that exceed $\pm 1$ by rounding,
up to $10^{-5}$, count as $\pm 1$; larger ones are refused.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\rho$ | `correlation` | any | correlation of $A$ and $B$ |
| $m_i$, $s_i$ | `mean_i`, `std_i` | any | mean and standard deviation |
| $J_n$ ($\cos = \rho$) | `arc_cosine(n, rho)` | any | $J_n$ of Cho and Saul, over $2\pi$ |

Factors. `arc_cosine(1, 1)` is $\mathbb{E} \operatorname{relu}(Z)^2 = 1/2$: no He factor 2.

Source. Y. Cho, L. K. Saul, "Kernel methods for deep learning", 2009,
papers.nips.cc/paper/3628-kernel-methods-for-deep-learning ($J_n$). Recalled, and checked here against numerical integrals, not
re-read. Derived here: the ReLU product with means.

Finite size. None. In float64 the errors found are below 5e-16 for `arc_cosine`, over all correlations to $\pm 1$ (absolute: no
relative accuracy is kept far in the tails), and below 5e-16 of $(|m_1| + s_1)(|m_2| + s_2)$ for the ReLU product. In float32
they are 2e-7.

Example. $\mathbb{E} \operatorname{relu}(A) \operatorname{relu}(B)$ at correlations $-1$, 0 and 1 is 0, $1/(2\pi)$ and 1/2.

>>> from closedform.theory.gaussian.relu_moments import arc_cosine, relu_product
>>> [round(float(arc_cosine(1, rho)), 4) for rho in (-1.0, 0.0, 0.5, 1.0)]
[0.0, 0.1592, 0.3045, 0.5]
>>> round(float(relu_product(0.0, 0.0, 1.0, 1.0, 0.5)), 4)
0.3045
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr
from jaxtyping import Array, Float, Real

from ..numerics.arguments import CORRELATION, FINITE, ArrayLike, Range, at_least, between, takes
from ..numerics.derivatives import directional
from ..numerics.normal import cdf, conditional, pdf, standardized
from ..numerics.roots import square_root
from ..numerics.special import arcsine
from .pairs import bivariate_normal_cdf

Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together
Floats = Float[Array, "*shape"]

NOT_NEGATIVE = at_least(0, finite=True)


@takes(degree=between(0, 2), correlation=CORRELATION)
def arc_cosine(degree: int, correlation: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """J_degree = E relu(A)^degree relu(B)^degree for standard normal A, B; degree 0 (steps), 1 or 2.

    At +-1 values and slopes are exact, but the infinite slope of degree 0 is returned as 0, because it multiplies the vanishing
    slope of the correlation of x with itself.

    >>> [round(float(arc_cosine(1, c)), 6) for c in (-1.0, 0.0, 1.0)], float(arc_cosine(0, 1.0)), float(arc_cosine(2, 1.0))
    ([0.0, 0.159155, 0.5], 0.5, 1.5)
    """
    return (_step_product, _relu_product_centred, _square_product)[degree](correlation)


@takes(mean_1=FINITE, mean_2=FINITE, std_1=NOT_NEGATIVE, std_2=NOT_NEGATIVE, correlation=CORRELATION)
def relu_product(
    mean_1: Numbers, mean_2: Numbers, std_1: Numbers, std_2: Numbers, correlation: Numbers
) -> Float[Array, "*shape"]:
    """E relu(A) relu(B) for a Gaussian pair of any means, std >= 0 and |correlation| <= 1, elementwise.

    For zero means it equals std_1 std_2 arc_cosine(1, rho), which is faster. Errors are given in "Finite size" above; (|m_1| +
    s_1)(|m_2| + s_2) must be a number of the dtype: below 3e38 in float32.

    >>> round(float(relu_product(0.3, -0.5, 1.0, 0.7, 0.6)), 6)
    0.131286
    """
    return _relu_product(*jnp.broadcast_arrays(mean_1, mean_2, std_1, std_2, correlation))


@takes(mean=Range(), std=NOT_NEGATIVE)
def relu_mean(mean: Numbers, std: Numbers) -> Float[Array, "*shape"]:
    """E relu(m + s Z) = m Phi(m/s) + s phi(m/s), for s >= 0; the mean may be infinite.

    Errors found are below 2e-16 of |m| + s, in float32 1e-7. Relative to the mean itself, which falls as exp(-m^2/(2 s^2)) in
    the tail, they are 2e-12 down to m = -10 s and 3e-10 to -37 s; in float32 1e-5 to -3 s and 2e-3 to -12 s.

    >>> round(float(relu_mean(0.0, 1.0)), 6), float(relu_mean(2.0, 0.0)), float(relu_mean(-2.0, 0.0))
    (0.398942, 2.0, 0.0)
    """
    m, s = jnp.broadcast_arrays(mean, std)
    infinite = jnp.isinf(m)
    return jnp.where(infinite, jnp.maximum(m, 0), _relu_mean(jnp.where(infinite, 0, m), s))


def _relu_mean(m: Floats, s: Floats) -> Floats:
    ratio = standardized(m, s)
    return m * ndtr(ratio) + s * pdf(ratio)


@jax.custom_jvp
@jax.jit
def _relu_product(mean_1: Floats, mean_2: Floats, std_1: Floats, std_2: Floats, correlation: Floats) -> Floats:
    rho, h, k, q, u, v = _standard_pair(mean_1, mean_2, std_1, std_2, correlation)
    second = (mean_1 * mean_2 + rho * std_1 * std_2) * bivariate_normal_cdf(h, k, rho)
    edges = mean_1 * std_2 * pdf(k) * cdf(v) + mean_2 * std_1 * pdf(h) * cdf(u)
    total = second + edges + std_1 * std_2 * q * pdf(h) * pdf(u)  # q phi_2 = phi(h) phi(u)
    return jnp.maximum(total, 0)  # far in the tail only rounding is left


@_relu_product.defjvp
def _relu_product_jvp(primals, tangents):
    """By parts: d/dm_1 = E 1[A > 0] relu(B), d/ds_1 = phi(h) E[relu(B) | A = 0] + rho s_2 Phi_2, d/drho = s_1 s_2 Phi_2.

    Given A = 0, B has mean m_2 - rho s_2 h and deviation s_2 q: of the thresholds held within +-40 only h enters, where
    phi(h) is 0 unless it is m_1/s_1.
    """
    mean_1, mean_2, std_1, std_2, _ = primals
    rho, h, k, q, u, v = _standard_pair(*primals)
    orthant = bivariate_normal_cdf(h, k, rho)
    edge_1, edge_2 = pdf(h) * cdf(u), pdf(k) * cdf(v)
    slopes = (
        mean_2 * orthant + std_2 * (edge_2 + rho * edge_1),
        mean_1 * orthant + std_1 * (edge_1 + rho * edge_2),
        pdf(h) * _relu_mean(mean_2 - rho * std_2 * h, std_2 * q) + rho * std_2 * orthant,
        pdf(k) * _relu_mean(mean_1 - rho * std_1 * k, std_1 * q) + rho * std_1 * orthant,
        std_1 * std_2 * orthant,
    )
    return _relu_product(*primals), directional(slopes, tangents)


def _standard_pair(mean_1: Floats, mean_2: Floats, std_1: Floats, std_2: Floats, correlation: Floats):
    h, k = standardized(mean_1, std_1), standardized(mean_2, std_2)
    return jnp.clip(correlation, -1, 1), h, k, *conditional(h, k, correlation)


def _step_product(rho: Floats) -> Floats:
    """Clipped as the other two are: computed beside one of them, the arc sine is computed once."""
    return (math.pi / 2 + arcsine(jnp.clip(rho, -1, 1))) / (2 * math.pi)


@jax.custom_jvp
@jax.jit
def _relu_product_centred(rho: Floats) -> Floats:
    c = jnp.clip(rho, -1, 1)
    return (square_root((1 - c) * (1 + c)) + (math.pi / 2 + arcsine(c)) * c) / (2 * math.pi)


@jax.custom_jvp
@jax.jit
def _square_product(rho: Floats) -> Floats:
    c = jnp.clip(rho, -1, 1)
    return (3 * c * square_root((1 - c) * (1 + c)) + (math.pi / 2 + arcsine(c)) * (1 + 2 * c**2)) / (2 * math.pi)


_relu_product_centred.defjvps(lambda tangent, _, rho: _step_product(rho) * tangent)
_square_product.defjvps(lambda tangent, _, rho: 4 * _relu_product_centred(rho) * tangent)
