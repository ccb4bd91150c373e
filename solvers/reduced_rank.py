r"""Reduced-rank regression: the linear map of a given rank that predicts several targets best, from samples or from moments.

$$
\min_{\operatorname{rank} W \le k} \| Y - X W \|_F^2, \qquad W = W_0 V_k V_k^\top
$$

with the least-squares map $W_0 = X^+ Y$ of unlimited rank and the $k$ leading right singular vectors $V_k$ of its fit $X W_0$.

Source: textbook (A. J. Izenman, "Reduced-rank regression for the multivariate linear model", 1975; recalled).

Example. Of two targets the larger one is kept:

>>> import jax.numpy as jnp
>>> from closedform.solvers import reduced_rank
>>> reduced_rank.fit(jnp.eye(2), jnp.diag(jnp.array([3.0, 1.0])), 1).round(6).tolist()
[[3.0, 0.0], [0.0, 0.0]]
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..theory.numerics.arguments import FINITE, ArrayLike, at_least, require_not_empty, takes
from ..theory.numerics.symmetric import require_kernel


@takes(x=FINITE, y=FINITE, rank=at_least(0))
def fit(x: Real[ArrayLike, "sample feature"], y: Real[ArrayLike, "sample target"], rank: int) -> Float[Array, "feature target"]:
    """The map W of the samples, y ~ x W; of all best ones the one of least norm. There is no intercept: centre the data.

    It is unique where the singular values k and k + 1 of the fit differ. A rank beyond the number of targets is no restriction.
    """
    require_not_empty(x=x, y=y)
    unlimited = jnp.linalg.pinv(x) @ y
    directions = jnp.linalg.svd(x @ unlimited, full_matrices=False)[2][:rank]
    return (unlimited @ directions.T) @ directions


@takes(covariance=FINITE, cross=FINITE, rank=at_least(0))
def from_moments(
    covariance: Real[ArrayLike, "dim dim"], cross: Real[ArrayLike, "target dim"], rank: int
) -> Float[Array, "target dim"]:
    """The map W of the population, y ~ W x, from E x x^T and E y x^T. Raises ValueError for a covariance that is none.

    >>> from_moments([[1.0, 0.0], [0.0, 4.0]], [[3.0, 0.0], [0.0, 8.0]], 1).round(6).tolist()
    [[0.0, 0.0], [0.0, 2.0]]
    """
    require_kernel(covariance, "covariance")
    require_not_empty(cross=cross)
    unlimited = cross @ jnp.linalg.pinv(covariance, hermitian=True)
    explained = unlimited @ cross.T
    directions = jnp.linalg.eigh((explained + explained.T) / 2)[1][:, ::-1][:, :rank]
    return directions @ (directions.T @ unlimited)
