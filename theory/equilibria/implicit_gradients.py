r"""The gradient through a fixed point, and how wrong it is by a truncated series, by one step or by unrolled iterations.

Formula. At $z^* = f(z^*, \theta)$ with the Jacobian $J = \partial f/\partial z$, a loss of gradient $g = dL/dz^*$ has

$$
\frac{dL}{d\theta} = \lambda^\top \frac{\partial f}{\partial \theta}, \qquad (I - J)^\top \lambda = g
$$

A Neumann series of order $m$ replaces $\lambda$ by a sum, whose error is known exactly:

$$
\lambda_m = \sum_{k=0}^m (J^\top)^k g, \qquad \lambda - \lambda_m = (J^\top)^{m+1} \lambda
$$

The one-step gradient is $\lambda_0 = g$. Reverse-mode differentiation of $K$ unrolled steps from $z_0$ gives, for the weights
$W$ of an affine map $f(z) = W z + c$ and with $e_0 = z_0 - z^*$,

$$
\frac{dL}{dW} - G_K = (W^\top)^K \lambda\, z^{*\top} - \sum_{j=0}^{K-1} (W^\top)^{K-1-j}\, g\, e_0^\top (W^\top)^j
$$

Regime. The implicit gradient and the error of the Neumann series are exact for every smooth map with $1$ no eigenvalue of
$J$. As $m \to \infty$ the error falls as $\rho^{m+1}$ with the spectral radius $\rho$ of $J$, as does the residual of the
same iteration for $\lambda$: the backward pass converges as fast as the forward pass. The unrolled error is exact for affine
maps. It falls as $K \rho^K$ there if one simple real eigenvalue is the largest, since both the state and the adjoint of a
step are off by powers of $\rho$; a smooth map has the same law as $K \to \infty$, with other constants. The one-step gradient
is positively aligned with the implicit one if $J$ is small enough in norm; it need not be otherwise.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $J$, $W$ | `jacobian`, `weights` | unit unit | Jacobian at the fixed point; weights of an affine map |
| $g$ | `cotangent` | unit | gradient of the loss in the equilibrium |
| $\lambda$ | `adjoint` | unit | solution of the transposed linear equation |
| $\partial f/\partial \theta$ | `sensitivity` | unit parameter | derivative of the map in its parameters; by default $I$ |
| $m$, $K$ | `orders`, `steps` | any | terms beyond the first, unrolled steps |
| $z^*$, $e_0$ | `equilibrium`, `error` | unit | fixed point, and start minus fixed point |

Factors. $J_{ij} = \partial f_i/\partial z_j$. Solving with $I - J$ instead of its transpose gives another vector unless $J$ is
symmetric.

Source. S. Bai, J. Z. Kolter, V. Koltun, arXiv 1909.01377 (implicit gradient; recalled); the one-step gradient is the
Jacobian-free one of S. Wu Fung et al., arXiv 2103.12803 (recalled). The errors are derived here.

Finite size. None: rounding.

Example. The error of one step and of two further terms, for one unit with $J = 1/2$: $\lambda = 2 g$.

>>> from closedform.theory.equilibria import implicit_gradients
>>> implicit_gradients.adjoint([[0.5]], [1]).tolist()
[2.0]
>>> implicit_gradients.neumann_comparison([0, 2], [[0.5]], [1]).relative_error.tolist()
[0.5, 0.125]
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ArrayLike, at_least, takes
from ..numerics.linear import powers
from ..numerics.norms import length, nonzero

Matrix = Real[ArrayLike, "unit unit"]
Vector = Real[ArrayLike, "unit"]
Sensitivity = Real[ArrayLike, "unit parameter"]
Counts = Int[np.ndarray, "*count"]


@documented
class Comparison(NamedTuple):
    """An approximate gradient beside the implicit one."""

    relative_error: Float[Array, "*count"]  # |approximate - implicit|/|implicit|
    cosine: Float[Array, "*count"]  # of the angle between the two; 0 where one is 0


@takes(jacobian=FINITE, cotangent=FINITE)
def adjoint(jacobian: Matrix, cotangent: Vector) -> Float[Array, "unit"]:
    """lambda, from (I - J)^T lambda = g; not finite if 1 is an eigenvalue of J.

    >>> adjoint([[0, 0.5], [0, 0]], [1, 0]).tolist()
    [1.0, 0.5]
    """
    return jnp.linalg.solve((jnp.eye(len(cotangent), dtype=cotangent.dtype) - jacobian).T, cotangent)


@takes(jacobian=FINITE, cotangent=FINITE, sensitivity=FINITE)
def implicit_gradient(jacobian: Matrix, cotangent: Vector, sensitivity: Sensitivity) -> Float[Array, "parameter"]:
    """dL/dtheta = lambda^T df/dtheta.

    >>> implicit_gradient([[0.5]], [1], [[3, 4]]).tolist()
    [6.0, 8.0]
    """
    return adjoint(jacobian, cotangent) @ sensitivity


@takes(orders=at_least(0), jacobian=FINITE, cotangent=FINITE)
def neumann_adjoint(orders: Counts, jacobian: Matrix, cotangent: Vector) -> Float[Array, "*count unit"]:
    """lambda_m, the sum of (J^T)^k g over k = 0, .., m, for each order m; order 0 is the one-step gradient's g.

    >>> neumann_adjoint([0, 1, 2], [[2.0]], [1.0]).ravel().tolist()
    [1.0, 3.0, 7.0]
    """
    n = len(cotangent)
    # the powers of [[J^T, g], [0, 1]] have the sums in their last column
    block = jnp.block([[jacobian.T, cotangent[:, None]], [jnp.zeros_like(cotangent)[None], jnp.ones((1, 1), cotangent.dtype)]])
    return powers(np.asarray(orders + 1), block)[..., :n, n]


@takes(orders=at_least(0), jacobian=FINITE, cotangent=FINITE, sensitivity=FINITE)
def neumann_comparison(
    orders: Counts, jacobian: Matrix, cotangent: Vector, sensitivity: Sensitivity | None = None
) -> Comparison:
    """The gradient by a Neumann series of each order beside the implicit gradient; errors are exact down to rounding of 0."""
    exact = adjoint(jacobian, cotangent)
    # from the error itself: the difference of two close sums has no digits
    missing = powers(np.asarray(orders + 1), jacobian.T) @ exact
    whole, error = (exact, missing) if sensitivity is None else (exact @ sensitivity, missing @ sensitivity)
    approximate = jnp.broadcast_to(whole, error.shape) - error
    sizes = length(whole) * length(approximate)
    return Comparison(length(error) / nonzero(length(whole)), approximate @ whole / nonzero(sizes))


@takes(steps=at_least(0), weights=FINITE, equilibrium=FINITE, error=FINITE, cotangent=FINITE)
def unrolled_error(
    steps: Counts, weights: Matrix, equilibrium: Vector, error: Vector, cotangent: Vector
) -> Float[Array, "*count unit unit"]:
    """The implicit gradient in the weights of an affine map less the gradient through each number of unrolled steps.

    >>> unrolled_error([0, 1], [[0.5]], [2.0], [-2.0], [1.0]).ravel().tolist()  # 4 - 0, and one step from 0 has no slope in W
    [4.0, 4.0]
    """
    n = len(cotangent)
    transposed = weights.T
    # the powers of [[A, B], [0, A]] have the sum of A^(K-1-j) B A^j in their upper right corner
    block = jnp.block([[transposed, jnp.outer(cotangent, error)], [jnp.zeros_like(weights), transposed]])
    power = powers(steps, block)
    late_state = power[..., :n, n:]
    return power[..., :n, :n] @ jnp.outer(adjoint(weights, cotangent), equilibrium) - late_state
