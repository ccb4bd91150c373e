r"""The fixed point of an affine map, and the distance to it after every step and at every time, exactly.

Formula. For $f(z) = W z + c$ and the equilibrium $z^* = f(z^*)$,

$$
\begin{align*}
z^* &= (I - W)^{-1} c \\
z_k - z^* &= ((1 - h) I + h W)^k\, (z_0 - z^*) \\
z(t) - z^* &= e^{(W - I) t}\, (z_0 - z^*)
\end{align*}
$$

for the iteration $z_{k+1} = (1 - h) z_k + h f(z_k)$, which is Picard's at $h = 1$, and for the flow $dz/dt = f(z) - z$, of
which the iteration is Euler's method with the step $h$. The worst distance over all starts at distance 1 is the spectral norm
of the power or of the exponential.

Regime. Exact for every affine map, of any size; near its fixed point a smooth map behaves like its linearisation. The spectrum
decides what happens in the end, not on the way: if $W$ is not normal ($W W^\top \ne W^\top W$) the norm of $W^k$ may grow
for many steps although $\rho(W) < 1$. At the start the worst distance to $z^*$ grows at the rate of the largest eigenvalue of
$(W + W^\top)/2 - I$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $W$ | `weights` | unit unit | weights of the map, or its Jacobian at the fixed point |
| $c$ | `offset` | unit | input and bias |
| $z_0 - z^*$ | `error` | unit | difference between the start and the equilibrium |
| $k$ | `steps` | any | number of iterations |
| $t$ | `time` | any | time of the flow |
| $h$ | `damping` | `()` | step of the iteration; 1 for Picard's |

Factors. None.

Source. Linear algebra. The continuous equilibrium model is that of A. Pal, A. Edelman, C. Rackauckas, arXiv 2201.12240.

Finite size. None: rounding. The exponential is computed for $|W - I|\, t$ up to $2^{25}$, and overflows where the true
one does.

Example. Both eigenvalues are 1/2, but the worst distance first grows:

>>> from closedform.theory.equilibria import linear_maps
>>> [round(float(norm), 3) for norm in linear_maps.picard_growth([0, 1, 2, 20], [[0.5, 4.0], [0.0, 0.5]])]
[1.0, 4.062, 4.016, 0.0]
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import expm
from jaxtyping import Array, Float, Int, Real

from ..numerics.arguments import FINITE, ArrayLike, at_least, takes
from ..numerics.linear import powers

Matrix = Real[ArrayLike, "unit unit"]
Vector = Real[ArrayLike, "unit"]
Counts = Int[np.ndarray, "*step"]
TIME = at_least(0, finite=True)
_SQUARINGS = 24  # for norms up to 2^25


@takes(weights=FINITE, offset=FINITE)
def fixed_point(weights: Matrix, offset: Vector) -> Float[Array, "unit"]:
    """z* = (I - W)^-1 c; not finite if 1 is an eigenvalue of W.

    >>> fixed_point([[0.5, 0.0], [0.0, -1.0]], [1, 1]).tolist()
    [2.0, 0.5]
    """
    return jnp.linalg.solve(jnp.eye(len(offset), dtype=offset.dtype) - weights, offset)


@takes(steps=at_least(0), weights=FINITE, error=FINITE, damping=FINITE)
def picard_error(
    steps: Counts, weights: Matrix, error: Vector, damping: Real[ArrayLike, ""] = 1.0
) -> Float[Array, "*step unit"]:
    """z_k - z* after each number of steps of the iteration.

    >>> picard_error([0, 1, 3], [[-0.5]], [8]).tolist()
    [[8.0], [-4.0], [-1.0]]
    """
    return powers(steps, _step(weights, damping)) @ error


@takes(steps=at_least(0), weights=FINITE, damping=FINITE)
def picard_growth(steps: Counts, weights: Matrix, damping: Real[ArrayLike, ""] = 1.0) -> Float[Array, "*step"]:
    """The worst |z_k - z*| over all starts at distance 1: the spectral norm of the power."""
    return jnp.linalg.norm(powers(steps, _step(weights, damping)), ord=2, axis=(-2, -1))


@takes(time=TIME, weights=FINITE, error=FINITE)
def flow_error(time: Real[ArrayLike, "*time"], weights: Matrix, error: Vector) -> Float[Array, "*time unit"]:
    """z(t) - z* at each time of the flow.

    >>> round(float(flow_error(1.0, [[0.0]], [1.0])[0]), 6)  # exp(-1)
    0.367879
    """
    return _exponentials(time, weights) @ error


@takes(time=TIME, weights=FINITE)
def flow_growth(time: Real[ArrayLike, "*time"], weights: Matrix) -> Float[Array, "*time"]:
    """The worst |z(t) - z*| over all starts at distance 1: the spectral norm of the exponential.

    >>> round(float(flow_growth(1.0, [[0.0, 6.0], [0.0, 0.0]])), 3)  # both eigenvalues of W - I are -1
    2.267
    """
    return jnp.linalg.norm(_exponentials(time, weights), ord=2, axis=(-2, -1))


def _step(weights: Array, damping: Array) -> Array:
    return (1 - damping) * jnp.eye(len(weights), dtype=weights.dtype) + damping * weights


def _exponentials(time: Array, weights: Array) -> Array:
    flow = weights - jnp.eye(len(weights), dtype=weights.dtype)
    found = jax.vmap(lambda t: _exponential(t * flow))(time.ravel())
    return found.reshape(*time.shape, *flow.shape)


def _exponential(matrix: Float[Array, "unit unit"]) -> Float[Array, "unit unit"]:
    """exp of the matrix: of a part of norm 2 at most, which is squared again and again.

    Left to itself `expm` squares once too few: in float32 it is off by 1 % at a norm of 25.
    """
    size = jax.lax.stop_gradient(jnp.max(jnp.sum(jnp.abs(matrix), axis=0), initial=0))
    squarings = jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(size, 1) / 2)), 0, _SQUARINGS)

    def square(power: Array, k: Array) -> tuple[Array, None]:
        return jnp.where(k < squarings, power @ power, power), None

    part = expm(matrix * jnp.exp2(-squarings), max_squarings=1)
    return jax.lax.scan(square, part, jnp.arange(_SQUARINGS, dtype=matrix.dtype))[0]
