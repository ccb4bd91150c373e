r"""The probability that two correlated normal numbers both lie below thresholds of their own.

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

Regime. Exact for every correlation in $[-1, 1]$. Correlations that exceed $\pm 1$ by rounding, up to $10^{-5}$, count as
$\pm 1$; larger ones are refused.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\rho$ | `correlation` | any | correlation of $A$ and $B$ |
| $h$, $k$ | `h`, `k` | any | thresholds, in standard deviations |
| $\Phi_2$ | `bivariate_normal_cdf` | any | probability of both |
| $T$ | `owen_t` of `numerics.special` | any | Owen's function |

Factors. None: $A$ and $B$ have variance 1.

Source. D. B. Owen, "Tables for computing bivariate normal probabilities", 1956, doi 10.1214/aoms/1177728074 ($T$, and
$\Phi_2$ by it). Recalled, and checked here against numerical integrals, not re-read.

Finite size. None. In float64 the errors found are below 5e-16, over all correlations to $\pm 1$ (absolute: no relative accuracy
is kept far in the tails). In float32 they are 2e-7.

Example. Both numbers are negative with probability 0 at correlation $-1$, 1/4 at 0 and 1/2 at 1.

>>> from closedform.theory.gaussian.pairs import bivariate_normal_cdf
>>> [round(float(bivariate_normal_cdf(0.0, 0.0, rho)), 4) for rho in (-1.0, 0.0, 0.5, 1.0)]
[0.0, 0.25, 0.3333, 0.5]
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import CORRELATION, ArrayLike, Range, takes
from ..numerics.derivatives import directional, reciprocal
from ..numerics.normal import cdf, conditional, pdf
from ..numerics.special import owen_t

Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together
Floats = Float[Array, "*shape"]

ANY = Range()  # infinity too, but not NaN


@takes(h=ANY, k=ANY, correlation=CORRELATION)
def bivariate_normal_cdf(h: Numbers, k: Numbers, correlation: Numbers) -> Float[Array, "*shape"]:
    """Phi_2(h, k; rho) = P(A <= h, B <= k) for standard normal A, B; Owen's formula, elementwise.

    Thresholds may be infinite. Differentiable. At |rho| = 1 its slope in rho is 0; where it is infinite, on h = rho k, 0 is
    returned too.

    >>> [round(float(bivariate_normal_cdf(0.0, 0.0, rho)), 6) for rho in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    [0.0, 0.166667, 0.25, 0.333333, 0.5]
    """
    x, y, rho = jnp.broadcast_arrays(h, k, correlation)
    return _bivariate_normal_cdf(jnp.clip(x, -40, 40), jnp.clip(y, -40, 40), rho)


# compiled here: on large arrays one pass through memory also for a caller who does not compile
@jax.custom_jvp
@jax.jit
def _bivariate_normal_cdf(h: Floats, k: Floats, correlation: Floats) -> Floats:
    # at h = k = 0 each T depends on the direction from which that point is reached, the sum of both does not
    origin = (h == 0) & (k == 0)
    h, k = jnp.where(origin, 1e-30, h), jnp.where(origin, 1e-30, k)
    _, u, v = conditional(h, k, correlation)
    half = jnp.where((h < 0) == (k < 0), 0.0, 0.5).astype(h.dtype)
    return jnp.maximum((cdf(h) + cdf(k)) / 2 - owen_t(h, u) - owen_t(k, v) - half, 0)


@_bivariate_normal_cdf.defjvp
def _bivariate_normal_cdf_jvp(primals, tangents):
    h, k, correlation = primals
    q, u, v = conditional(h, k, correlation)
    slopes = pdf(h) * cdf(u), pdf(k) * cdf(v), reciprocal(q) * pdf(h) * pdf(u)
    return _bivariate_normal_cdf(*primals), directional(slopes, tangents)
