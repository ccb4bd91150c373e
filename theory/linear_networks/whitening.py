r"""How correlated the responses of a bank of filters are across an image, and how little if the filters whiten.

Formula. With the responses $y_k(r) = w_k \cdot p(r)$ to the patch at the place $r$, the second moment
$M = \frac{1}{K} \sum_k w_k w_k^\top$ of the filters and $C(\delta) = \mathbb{E}\, p(r)\, p(r + \delta)^\top$,

$$
\rho(\delta) = \frac{\mathbb{E} \sum_k y_k(r)\, y_k(r + \delta)}{\mathbb{E} \sum_k y_k(r)^2}
= \frac{\operatorname{tr}(M\, C(\delta))}{\operatorname{tr}(M\, C(0))}
$$

A bank that whitens has $e_i \propto 1/\lambda_i$ in the principal components of the patches, $M \propto C(0)^{-1}$:

$$
\rho(\delta) = \frac{1}{d} \operatorname{tr}(C(0)^{-1} C(\delta))
$$

Regime. Exact for any filters and images, where $C$ are means over the same places. With the mean of $M$ over draws it is the
ratio of two means, which the mean of the ratio approaches as $1/K$ for independent filters. For images that are white noise
$\rho(\delta) = 0$ as soon as the patches have no pixel in common; for others what is left is that part of a patch
that another one predicts linearly.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $M$ | `moment` | `dim dim` | second moment of the filters; its scale is of no account |
| $C(0)$ | `covariance` | `dim dim` | second moment of the patches |
| $C(\delta)$ | `lagged` | `*lag dim dim` | of patches a distance $\delta$ apart; need not be symmetric |

Factors. None: $\rho(0) = 1$ if `lagged` at 0 is `covariance`.

Source. The measure, and whitening as where training ends: R. Chowers, Y. Weiss, arXiv 2206.02454 (theorem 4.3 and figure 6).
Both traces are derived here.

Finite size. None.

Example. Two neighbouring pixels of a row along which the correlation falls by 1/2 a pixel: a bank of single pixels, and one
that whitens:

>>> import jax.numpy as jnp
>>> from closedform.theory.linear_networks import whitening
>>> def pairs(lag):
...     return [[0.5 ** abs(lag), 0.5 ** abs(lag + 1)], [0.5 ** abs(lag - 1), 0.5 ** abs(lag)]]
>>> lagged = [pairs(lag) for lag in (0, 2, 4)]
>>> whitening.response_autocorrelation(jnp.eye(2), lagged, pairs(0)).tolist()
[1.0, 0.25, 0.0625]
>>> [round(float(value), 4) for value in whitening.whitened_autocorrelation(lagged, pairs(0))]
[1.0, 0.125, 0.0312]
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..kernels import kernel_dynamics
from ..numerics.arguments import FINITE, ArrayLike, require_not_empty, takes
from ..numerics.norms import nonzero
from ..numerics.symmetric import require_kernel


@takes(moment=FINITE, lagged=FINITE, covariance=FINITE)
def response_autocorrelation(
    moment: Real[ArrayLike, "dim dim"], lagged: Real[ArrayLike, "*lag dim dim"], covariance: Real[ArrayLike, "dim dim"]
) -> Float[Array, "*lag"]:
    """tr(M C(delta))/tr(M C(0)); 0 if the filters answer to nothing. Raises ValueError for moments of no filters or patches.

    >>> float(response_autocorrelation([[1.0]], [[0.5]], [[2.0]]))
    0.25
    """
    require_kernel(moment, "moment")
    require_kernel(covariance, "covariance")
    return _ratio(moment, lagged, covariance)


@takes(lagged=FINITE, covariance=FINITE)
def whitened_autocorrelation(
    lagged: Real[ArrayLike, "*lag dim dim"], covariance: Real[ArrayLike, "dim dim"]
) -> Float[Array, "*lag"]:
    """tr(C(0)^-1 C(delta))/d of a bank that whitens the patches; directions in which they never vary have no filter.

    >>> float(whitened_autocorrelation([[1.0, 0.0], [0.0, 0.5]], [[2.0, 0.0], [0.0, 4.0]]))  # (1/2 + 1/8)/2
    0.3125
    """
    require_kernel(covariance, "covariance")
    require_not_empty(covariance=covariance)
    eye = jnp.eye(len(covariance), dtype=covariance.dtype)
    inverse = kernel_dynamics.gradient_flow(jnp.inf, covariance, eye, eye).test  # of the part that is not rounding
    return _ratio(inverse, lagged, covariance)


def _ratio(moment: Array, lagged: Array, covariance: Array) -> Array:
    power = jnp.sum(moment * covariance)  # tr(M C) of symmetric matrices
    return jnp.where(power > 0, jnp.einsum("de,...ed->...", moment, lagged) / nonzero(power), 0)
