r"""The point of a polyhedral cone that is nearest to a given point, to rounding.

Formula. For the cone $K = \{u \,:\, G u \ge 0\}$ of the rows of $G$, with multipliers $\lambda$,

$$
\begin{align*}
\operatorname{Proj}_K(q) &= \operatorname*{argmin}_{u \in K} |u - q| = q + G^\top \lambda, \qquad
    \lambda = \operatorname*{argmin}_{\lambda \ge 0} |q + G^\top \lambda|^2 \\
\lambda_k &= 0 \quad \text{where} \quad (G u)_k > 0
\end{align*}
$$

Regime. Any rows, also zero, repeated or dependent ones.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $q$ | `q` | `dim` | the point to be projected |
| $G$ | `signs * rows` | `sample dim` | the cone $\{u \,:\, G u \ge 0\}$; for an activation pattern, $2 D - 1$ times the data |
| $\operatorname{Proj}_K(q)$ | `Projection.point` | `dim` | nearest point |
| $\lambda$ | `Projection.multipliers` | `sample` | multipliers of the rows `signs * rows` |

Factors. None.

Source. C. L. Lawson, R. J. Hanson, "Solving least squares problems" (the active-set method), recalled. The start from a nearby
face and the derivatives are derived here.

Finite size. Exact to rounding (in float64 1e-12 of $|q|$ or better, $10^{-16}/w$ in a cone of width $w$); each pivot costs
$O(\text{sample dim} + \text{dim}^3)$.

Example. The nearest point of the quadrant lies on its edge, held there by one row.

>>> import jax.numpy as jnp
>>> from closedform.theory.convex.cone_projection import cone_projection
>>> nearest = cone_projection(jnp.array([1.0, -2.0]), jnp.eye(2))
>>> nearest.point.tolist(), nearest.multipliers.tolist()
([1.0, 0.0], [0.0, 2.0])
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ArrayLike, one_of, require_not_empty, takes
from ..numerics.norms import length, nonzero, power_of_two

Samples = Real[ArrayLike, "sample"]
Points = Real[ArrayLike, "sample dim"]


@documented
class Projection(NamedTuple):
    """The nearest point of a cone to q: point = q + rows' multipliers, with multipliers >= 0 and 0 where rows.point > 0."""

    point: Float[Array, "dim"]
    multipliers: Float[Array, "sample"]  # of signs * rows
    face: Int[Array, "slot"]  # indices of the active rows, at most dim of them, padded with num_samples


@takes(q=FINITE, rows=FINITE, signs=one_of(-1, 0, 1))
def cone_projection(
    q: Real[ArrayLike, "dim"],
    rows: Points,
    signs: Samples | None = None,
    start: Int[ArrayLike, "dim"] | None = None,
) -> Projection:
    """The point of the cone {u: signs * (rows u) >= 0} nearest to q; without `signs`, of {u: rows u >= 0}.

    Lawson and Hanson's active-set method on the dual, min over lambda >= 0 of |q + rows' lambda|. With `signs` (+-1, or 0
    to leave a row out) many cones share one x under vmap with axes (0, None, 0). `start`, the face of a nearby q in the same
    cone, saves pivots. Differentiable in q and rows while the face stays. Ends in any case after 3 (sample + dim) pivots.

    >>> cone_projection(jnp.array([1.0, -2.0]), jnp.array([[0.0, 1.0], [1.0, 1.0]])).point.tolist()
    [1.0, 0.0]
    """
    require_not_empty(q=q)
    if not len(rows):  # the whole space
        return Projection(q, jnp.zeros(0, q.dtype), jnp.zeros(len(q), int))
    face = no_face(rows) if start is None else jnp.asarray(start, int)
    size = power_of_two(q)
    point, multipliers, face = project(q / size, rows, signs, face)
    return Projection(size * point, size * multipliers, face)


def no_face(rows: Float[Array, "sample dim"]) -> Int[Array, "dim"]:
    """The empty face, to start from when no nearby face is known: no row is active."""
    return jnp.full(rows.shape[1], len(rows))


@jax.jit
def project(
    q: Float[Array, "dim"],
    rows: Float[Array, "sample dim"],
    signs: Float[Array, "sample"] | None,
    start: Int[Array, "slot"],
) -> Projection:
    """`cone_projection` for a q scaled to order one."""
    lengths = length(jax.lax.stop_gradient(rows))
    factors = (jnp.ones_like(lengths) if signs is None else signs) / nonzero(lengths)
    fixed = jax.lax.stop_gradient((q, rows / nonzero(lengths)[:, None], signs))
    face, guess = _find_face(*fixed, start)
    # A Newton step on the equations of the face, point = q + B' lambda and B point = 0: it changes the solution by
    # rounding only, and carries its derivative in q and B.
    factor = factors.at[face].get(mode="fill", fill_value=0)
    B = rows.at[face].get(mode="fill", fill_value=0) * factor[:, None]
    Q, R = _orthonormal(jax.lax.stop_gradient(B))
    pushed = q + guess @ B
    point = pushed - Q @ (pushed @ Q)
    point = point - Q @ _solve(R, B @ jax.lax.stop_gradient(point), transpose=True)
    point = jnp.where(jnp.all(face < len(rows)), 0, point)  # dim independent active rows leave only the tip of the cone
    slot_multipliers = guess + _solve(R, (point - pushed) @ Q)
    multipliers = jnp.zeros_like(lengths).at[face].set(slot_multipliers * jnp.abs(factor), mode="drop")
    return Projection(point, multipliers, face)


def _find_face(
    q: Float[Array, "dim"], rows: Float[Array, "sample dim"], signs: Float[Array, "sample"] | None, start: Int[Array, "slot"]
) -> tuple[Int[Array, "slot"], Float[Array, "slot"]]:
    """The face that the projection of q lies on, and its multipliers; `rows` of unit length or zero."""
    num_samples, dim = rows.shape
    slots = jnp.arange(dim)
    tolerance = 10 * dim * jnp.finfo(q.dtype).eps * length(q)

    def pivot(state: tuple) -> tuple:
        face, multipliers, pivots, _ = state
        B = rows.at[face].get(mode="fill", fill_value=0)
        if signs is not None:
            B = B * signs.at[face].get(mode="fill", fill_value=0)[:, None]
        # Project onto the face twice: after one projection the rounding error off the face may look like a violation.
        Q, R = _orthonormal(B)
        part = q @ Q
        point = q - Q @ part
        point = point - Q @ (point @ Q)
        target = _solve(R, -part)
        inside = ~jnp.any(target < 0)
        # If a multiplier is negative, go there only as far as all stay >= 0: the first to reach 0 leaves.
        steps = jnp.where(target < 0, multipliers / nonzero(multipliers - target), jnp.inf)
        leaving, last = jnp.argmin(steps), jnp.sum(face < num_samples) - 1
        shorter = jax.nn.relu(multipliers + jnp.where(inside, 1, steps[leaving]) * (target - multipliers))

        def without(values: Array, free: ArrayLike) -> Array:
            return jnp.where(slots == last, free, jnp.where(slots == leaving, values[last], values))

        # Otherwise the row that the point violates most enters. (jnp.argmin takes twice as long on a CPU.)
        heights = rows @ point if signs is None else signs * (rows @ point)
        lowest = jnp.min(heights)
        entering = jnp.max(jnp.where(heights == lowest, jnp.arange(num_samples), -1))
        done = inside & (~(lowest < -tolerance) | (last == dim - 1))
        entered = jnp.where((slots == last + 1) & ~done, entering, face)
        face = jnp.where(inside, entered, without(face, num_samples))
        return face, jnp.where(inside, target, without(shorter, 0)), pivots + 1, done

    def unfinished(state: tuple) -> Bool[Array, ""]:
        return ~state[3] & (state[2] < 3 * (num_samples + dim))

    face, multipliers, _, _ = jax.lax.while_loop(unfinished, pivot, (start, jnp.zeros_like(q), 0, False))
    return face, multipliers


def _orthonormal(B: Float[Array, "slot dim"]) -> tuple[Float[Array, "dim slot"], Float[Array, "slot slot"]]:
    """Q and R of B' = Q R; for the zero rows of B, which stand last, Q is 0 and the diagonal of R is 1."""
    Q, R = jnp.linalg.qr(B.T)
    free = jnp.all(B == 0, axis=1)
    return jnp.where(free[None], 0, Q), R + jnp.diag(free.astype(B.dtype))


def _solve(R: Float[Array, "slot slot"], values: Float[Array, "slot"], transpose: bool = False) -> Float[Array, "slot"]:
    return jax.scipy.linalg.solve_triangular(R, values, trans=int(transpose))
