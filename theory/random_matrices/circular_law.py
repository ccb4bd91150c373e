r"""The circular law with a variance for each row: where the eigenvalues of a large matrix without symmetry lie in the plane.

Formula. $X$ is $n \times n$ with independent entries of mean 0 and variance $V_{ij}/n$. Its spectral radius is, for large $n$,

$$
\rho(X) = \sqrt{\rho(V/n)}
$$

If the variance depends on the row alone, $V_{ij} = v_i$, then $\rho^2 = \bar v = \frac{1}{n} \sum_i v_i$, and the share of
eigenvalues with a modulus up to $r < \rho$ is

$$
F(r) = \frac{1}{n} \sum_i \frac{x}{x + v_i}, \qquad \frac{1}{n} \sum_i \frac{x\, v_i}{x + v_i} = r^2
$$

which is $r^2/v$ (a uniform disc) for equal $v$. The arguments of the eigenvalues are uniform, so that the spectral abscissa,
the largest real part, has the same limit $\rho$. At finite size the largest modulus is beyond $\rho$, on average by the factor

$$
\int_0^\infty \Big( 1 - \prod_{j=0}^{N - 1} P(N - j,\, N r^2)^{1/2} \Big) dr, \qquad
N = \frac{n}{\kappa}, \qquad \kappa = \frac{\overline{v^2}}{\bar v^2}
$$

with the regularised incomplete gamma function $P$.

Regime. $n \to \infty$ with bounded variances; entries with finite moments. The law of the rows holds as well for variances
that depend on the column alone, since the eigenvalues of $D X$ and $X D$ are equal. The factor of the largest modulus is a
heuristic for real matrices.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $V$ | `profile` | size size | $n$ times the variances of the entries |
| $v_i$ | `variances` | row | the same, if it depends on the row alone |
| | `weights` | row | share of the rows with each variance; equal shares if not given |
| $r$ | `radius` | any | modulus of an eigenvalue |
| $\rho$ | `spectral_radius`, `row_radius` | `()` | radius of the bulk |
| $\kappa$ | `spread` | any | mean square of the variances over their squared mean |

Factors. Variances are those of the entries times $n$: for entries $N(0, s^2/n)$ all $v_i = s^2$ and $\rho = s$.

Source. The radius and the law of a general profile: N. Cook, W. Hachem, J. Najim, D. Renfrew, "Non-Hermitian random matrices
with a variance profile (I)", arXiv 1612.04428 (recalled, not re-read). Equal variances: T. Tao, V. Vu, arXiv 0807.4898. The
form for rows is derived here from the single-ring formula of U. Haagerup, F. Larsen (2000, recalled), for the product of a
diagonal and a Gaussian matrix (S-transforms), and agrees with the uniform disc. The factor of the largest modulus is derived
here: squared moduli of the complex Gaussian matrix are independent Gamma variables (E. Kostlan, 1992, recalled); a real matrix
has half as many moduli, as eigenvalues come in conjugate pairs (its few real eigenvalues are left out); the density at the edge
is that of $n/\kappa$ eigenvalues in a uniform disc.

Finite size. Shares of the bulk are off by $O(1/n)$; about the edge, which is soft over $\rho/\sqrt n$, a share $1/\sqrt{2 \pi
n}$ lies beyond $\rho$. The largest modulus is beyond $\rho$ by the order of $\sqrt{\ln n/n}$, which no $c/n$ covers: 5 % at
$n = 100$, 3 % at 400. `largest_modulus` leaves out 1 % at $n = 100$.

Example. Half of the rows switched off: half of the eigenvalues are 0, and the radius falls by $\sqrt 2$.

>>> from closedform.theory.random_matrices import circular_law
>>> round(float(circular_law.row_radius([1.0, 0.0])), 4)
0.7071
>>> [round(float(share), 4) for share in circular_law.radial_cdf([0.0, 0.5, 0.8], [1.0, 0.0])]
[0.5, 0.75, 1.0]
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float, Real

from ..numerics.arguments import ArrayLike, at_least, require_not_empty, takes
from ..numerics.linear import eigenvalues
from ..numerics.norms import nonzero
from ..numerics.roots import climb_to_root, square_root

VARIANCE = at_least(0, finite=True)


@takes(profile=VARIANCE)
def spectral_radius(profile: Real[ArrayLike, "size size"]) -> Float[Array, ""]:
    """sqrt(rho(V/n)), the radius of the bulk for any profile of variances V/n.

    >>> round(float(spectral_radius([[1, 0], [0, 4]])), 4)  # two blocks of size 1/2 each: the larger one counts
    1.4142
    """
    require_not_empty(profile=profile)
    # Perron and Frobenius: the eigenvalue of largest modulus is the one of largest real part
    largest = jnp.max(jnp.real(eigenvalues(profile / len(profile))))
    return square_root(jnp.maximum(largest, 0))


@takes(variances=VARIANCE, weights=VARIANCE)
def row_radius(variances: Real[ArrayLike, "row"], weights: Real[ArrayLike, "row"] | None = None) -> Float[Array, ""]:
    """sqrt(mean v), the radius of the bulk for a variance of each row.

    >>> float(row_radius([1, 7], [0.5, 0.5]))
    2.0
    """
    return square_root(_shares(variances, weights) @ variances)


@takes(radius=at_least(0), variances=VARIANCE, weights=VARIANCE)
def radial_cdf(
    radius: Real[ArrayLike, "*radius"], variances: Real[ArrayLike, "row"], weights: Real[ArrayLike, "row"] | None = None
) -> Float[Array, "*radius"]:
    """F(r), the share of eigenvalues with a modulus up to r, for a variance of each row.

    >>> round(float(radial_cdf(0.5, [1.0])), 4)
    0.25
    """
    shares = _shares(variances, weights)
    mean = shares @ variances
    v = variances / nonzero(mean)
    endless = jnp.isinf(radius.ravel())
    square = (jnp.where(endless, 0, radius.ravel()) / jnp.sqrt(nonzero(mean))) ** 2
    inside = (square > 0) & (square < 1) & (mean > 0)
    target = jnp.where(inside, square, 0.5)

    def over_rows(function: Callable[[Array, Array], Array], x: Float[Array, "radius"]) -> Float[Array, "radius"]:
        return function(x[:, None], v[None]) @ shares

    # the mean of x v/(x + v) is at most x, and at least 1 - mean(v^2)/x
    high = jnp.maximum(shares @ v**2 / (1 - target), target)
    x = climb_to_root(
        lambda x: over_rows(lambda x, v: x * v / (x + v), x) - target,
        lambda x: over_rows(lambda x, v: (v / (x + v)) ** 2, x),
        target,
        high,
        2 * high,
    )
    none = jnp.sum(jnp.where(variances == 0, shares, 0))  # rows of zeros: eigenvalues 0
    outside = jnp.where((square > 0) | endless | (mean == 0), 1, none)
    return jnp.where(inside, over_rows(lambda x, v: x / (x + v), x), outside).reshape(radius.shape)


@takes(size=at_least(2), spread=at_least(1, finite=True))
def largest_modulus(size: int, spread: Real[ArrayLike, "*shape"] = 1.0) -> Float[Array, "*shape"]:
    """The mean spectral radius of a real matrix of finite size, over that of the limit: a heuristic, see the module.

    >>> [round(float(largest_modulus(size)), 4) for size in (100, 400)]
    [1.0413, 1.0295]
    """
    number = jnp.maximum(size / spread.ravel(), 1)  # N; between whole numbers the mean is interpolated
    below = jnp.maximum(jnp.ceil(jax.lax.stop_gradient(number)) - 1, 1)
    low, high = (jax.lax.stop_gradient(jax.vmap(lambda n: _mean_largest(n, size))(one)) for one in (below, below + 1))
    return (low + (number - below) * (high - low)).reshape(spread.shape)


def _mean_largest(number: Float[Array, ""], size: int) -> Float[Array, ""]:
    """The integral of the module, for a whole number N of at most `size`."""
    # 6 deviations of a modulus below the edge the product is 0; the trapezoidal rule of a smooth step is exact
    r = jnp.maximum(1 + jnp.asarray(np.linspace(-6, 6, 97), number.dtype) / jnp.sqrt(number), 1e-6)
    x = number * r[None] ** 2
    # 1 - P(a, x) is the sum of x^b e^-x/b! over b = a - 1, .., 0; 20 deviations below the edge it is 0
    power = number - jnp.arange(1.0, min(size, math.ceil(20 * math.sqrt(size))) + 2, dtype=r.dtype)
    counts = power >= 0
    b = jnp.where(counts, power, 0)[:, None]
    terms = jnp.where(counts[:, None], jnp.exp(b * jnp.log(x) - x - gammaln(b + 1)), 0)
    shares = jnp.maximum(1 - jnp.cumsum(terms[::-1], axis=0)[::-1], jnp.finfo(r.dtype).tiny)
    product = jnp.exp(jnp.sum(jnp.where(counts[:, None], jnp.log(shares), 0), axis=0) / 2)
    return r[0] + jnp.trapezoid(1 - product, r)


def _shares(variances: Array, weights: Array | None) -> Array:
    require_not_empty(variances=variances)
    if weights is None:
        return jnp.full_like(variances, 1 / len(variances))
    return weights / nonzero(jnp.sum(weights))
