r"""Basis pursuit, the least l1 norm of all solutions of a linear system, by Douglas and Rachford's splitting.

Of all $w$ with $X w = y$ the one of least $|w|_1$, to a verified gap:

$$
w = u + X^\top (X X^\top)^{-1} (y - X u), \qquad u^+ = u + S(2 w - u;\, \gamma) - w
$$

with the soft threshold $S$. Every $w$ satisfies the constraints, and $\nu = (X X^\top)^{-1} (y - X u)/\gamma$ is, once it is
divided by the largest entry of $|X^\top \nu|$ where that is above 1, a point of the dual problem
$\max_\nu \langle \nu, y \rangle$ over $|X^\top \nu|_\infty \leq 1$: the two values enclose the optimum.

Source: textbook (Douglas-Rachford); the dual point is derived here.

Example. One equation: all of the weight goes where it counts most.

>>> import jax.numpy as jnp
>>> from closedform.solvers import basis_pursuit
>>> found = basis_pursuit.solve(jnp.array([[1.0, 2.0]]), jnp.array([4.0]), rtol=1e-5)
>>> abs(found.weights.round(3)).tolist(), round(float(found.objective), 3)
([0.0, 2.0], 2.0)
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, Real

from ..theory.numerics.arguments import FINITE, ArrayLike, above, at_least, takes
from .program import Bounds, Solution, run

Number = Real[ArrayLike, ""]


@takes("x", x=FINITE, y=FINITE, rtol=at_least(0), max_steps=at_least(0), threshold=above(0, finite=True))
def solve(
    x: Real[ArrayLike, "sample dim"],
    y: Real[ArrayLike, "sample"],
    *,
    rtol: Number = 1e-6,
    max_steps: int = 20_000,
    threshold: Number | None = None,
) -> Solution:
    """The weights of least l1 norm, with that norm, a lower bound of it, and the steps taken.

    The rows of x must be independent; rows of zeros are left out, so that problems of several sizes are one program.
    `threshold` is gamma, in units of the weights: by default |w|/(2 sqrt samples) of the solution w of least l2 norm.
    """
    return _solve(x, y, rtol, threshold, max_steps)


@partial(jax.jit, static_argnames="max_steps", inline=True)
def _solve(x: Array, y: Array, rtol: Array, threshold: Array | None, max_steps: int) -> Solution:
    counted = jnp.any(x != 0, axis=1)
    factor = cho_factor(x @ x.T + jnp.diag(jnp.where(counted, 0, 1).astype(x.dtype)))
    y = jnp.where(counted, y, 0)

    def multipliers(u: Float[Array, "dim"]) -> Float[Array, "sample"]:
        return cho_solve(factor, y - x @ u)

    shortest = x.T @ cho_solve(factor, y)
    if threshold is None:
        size = jnp.sqrt(jnp.sum(shortest**2) / jnp.sum(counted.astype(x.dtype))) / 2
        threshold = jnp.where(size > 0, size, 1)

    def step(u: Float[Array, "dim"]) -> Float[Array, "dim"]:
        w = u + x.T @ multipliers(u)
        ahead = 2 * w - u
        return u + jnp.sign(ahead) * jnp.maximum(jnp.abs(ahead) - threshold, 0) - w

    def measure(u: Float[Array, "dim"]) -> Bounds:
        nu = multipliers(u)
        pull = x.T @ nu
        return Bounds(jnp.sum(jnp.abs(u + pull)), nu @ y / jnp.maximum(jnp.max(jnp.abs(pull)), threshold))

    u, bounds, steps = run(step, measure, shortest, rtol=rtol, max_steps=max_steps, every=10)
    return Solution(u + x.T @ multipliers(u), *bounds, steps)
