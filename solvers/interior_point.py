r"""Primal-dual interior point for the gated and the ReLU program: ten to some thirty steps to eight digits.

Each norm is a second-order cone $(t_b, w_b)$, $\|w_b\| \le t_b$, with $w$ the `weights`, and each pattern a polyhedral cone
with slacks $a = G w \ge 0$ and multipliers $z \ge 0$. Steps are Mehrotra's predictor-corrector in the scaling of Nesterov and
Todd (as in Vandenberghe, "The CVXOPT linear and quadratic cone program solvers", 2010,
www.seas.ucla.edu/~vandenbe/publications/coneprog.pdf). What is ours is the linear algebra: with $A_b$ the curvature of block
$b$ alone, a small $d \times d$ matrix (`dim`), the Newton matrix is $\operatorname{blockdiag}(A) + F^\top \ell'' F$, so that
one Cholesky factor of the $n \times n$ matrix (of the $n$ samples)

$$
1 + \sqrt{\ell''} \left(\sum_b D_b\, x A_b^{-1} x^\top D_b\right) \sqrt{\ell''}
$$

solves it, at $2 n^2 d B$ flops for the ReLU program with $B$ blocks. In the gated program $A_b$ is a multiple of 1 minus a
rank-one matrix, and $4 n^2 B$ flops suffice. A general cone solver factors a sparse matrix of size $d B$ instead.

The dual point is $\nu = -\ell'(f)$ with the multipliers $z$, scaled until
$\|F_b^\top \nu + G_b^\top z_b\| \le \beta$, the weight decay, holds for every block.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax.linalg import triangular_solve
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float, Real

from ..documented import documented
from ..theory.numerics.arguments import ArrayLike, at_least, takes
from . import losses
from .losses import Loss
from .program import VALID, Bounds, Program, Solution, norms, outputs, pulled, run


@documented
class State(NamedTuple):
    """Primal and dual variables, all strictly inside their cones. The dual of t is weight_decay throughout."""

    weights: Float[Array, "dim block"]
    t: Float[Array, "block"]  # above the norm of the weights
    omega: Float[Array, "dim block"]  # dual of the norm, shorter than weight_decay
    slack: Float[Array, "sample block"]  # of the cone constraints, rows of unit length; no rows in the gated program
    multiplier: Float[Array, "sample block"]  # z, of the same rows


@takes(program=VALID, rtol=at_least(0), max_steps=at_least(0))
def solve(
    program: Program,
    *,
    cones: bool,
    loss: Loss = losses.squared,
    rtol: Real[ArrayLike, ""] = 1e-8,
    max_steps: int = 100,
) -> Solution:
    """The optimum of the ReLU program (`cones=True`) or of the gated program, with a verified gap of rtol * objective.

    Steps end where rounding stops the progress, and `Solution.gap` is the gap there. Measured in float64 on six problems
    of 6 to 20 points in two or three dimensions with all their patterns, compiled with and without optimisations: the default
    is reached from a weight decay of 0.01 on in 10 to 31 steps, where the largest that leaves a network is about 2; at 1e-4 the
    gap ends at up to 2e-7 of the objective, at 1e-6 at up to 5e-5.
    The loss is smooth (squared or logistic); for the hinge, see robust.py. Compiled once for all programs of one shape.
    """
    loss.check(program.y, smooth=True)
    return _solve(program, rtol, cones, loss, max_steps)


# inline: under a jit of the caller's the steps are part of that program
@partial(jax.jit, static_argnames=("cones", "loss", "max_steps"), inline=True)
def _solve(program: Program, rtol: Array, cones: bool, loss: Loss, max_steps: int) -> Solution:
    state, bounds, steps = run(
        lambda s: step(s, program, loss),
        lambda s: measure(s, program, loss),
        init(program, cones=cones, loss=loss),
        rtol=rtol,
        max_steps=max_steps,
        patience=10,
        shrinks=0.9,  # a step that is not stopped by rounding makes it several times smaller
    )
    return Solution(state.weights, *bounds, steps)


def init(program: Program, *, cones: bool, loss: Loss = losses.squared) -> State:
    """The start: zero weights, and every complementary pair with the same product."""
    x, y, active, _, weight_decay = program
    num_samples, num_blocks = active.shape
    zero = jnp.zeros((x.shape[1], num_blocks), x.dtype)
    share = (loss.value(jnp.zeros_like(y), y) + weight_decay * jnp.finfo(x.dtype).eps) / (weight_decay * num_blocks)
    nu = loss.dual_point(jnp.zeros_like(y), y)
    pull = pulled(nu, program)
    strength = jnp.minimum(0.5 * weight_decay / jnp.maximum(jnp.max(norms(pull)), jnp.finfo(x.dtype).tiny), 1)
    shape = (num_samples if cones else 0, num_blocks)
    width = jnp.sqrt(jnp.asarray(num_samples, x.dtype))
    t = jnp.full(num_blocks, 0.1 * share)
    return State(zero, t, -strength * pull, jnp.full(shape, 0.1 * share * width), jnp.full(shape, weight_decay / width))


def measure(state: State, program: Program, loss: Loss = losses.squared) -> Bounds:
    """The objective at the weights, infinite outside of their cones, and the bound that the scaled multipliers prove.

    Rounding leaves weights outside of their cones by at most `_OUTSIDE` times their size. In the ReLU program the objective is
    therefore that of the ReLU network with these weights, which is exact on either side of a wall.
    """
    x, y, active, sign, weight_decay = program
    v, z = state.weights, state.multiplier
    rows, side, on = _rows(program)[: len(z)], (2 * active - 1)[: len(z)], jnp.abs(sign)
    outside = jnp.any((side * (rows @ v)) * on[None] < -_OUTSIDE * jnp.max(norms(v)))  # false for nan, which ends the run
    pre = x @ v
    f = active * pre @ sign
    judged = jax.nn.relu(pre) @ sign if len(z) else f
    objective = loss.value(judged, y) + weight_decay * jnp.sum(on * norms(v))
    nu = loss.dual_point(f, y)
    pull = pulled(nu, program) + rows.T @ (side * z)
    return Bounds(jnp.where(outside, jnp.inf, objective), loss.bound(nu, jnp.max(on * norms(pull)), y, weight_decay))


def _rows(program: Program) -> Float[Array, "sample dim"]:
    """The examples at unit length, zero rows left at zero: scaling the row of a constraint does not change the constraint."""
    size = jnp.linalg.norm(program.x, axis=1, keepdims=True)
    return program.x / jnp.where(size > 0, size, 1)


# --- one step --------------------------------------------------------------------------------------------------------------


class _Cone(NamedTuple):
    """Nesterov-Todd scaling of the second-order cones, W = eta (2 p p' - J), that carries both variables to lam."""

    w0: Float[Array, "block"]
    w1: Float[Array, "dim block"]
    eta: Float[Array, "block"]
    lam0: Float[Array, "block"]
    lam1: Float[Array, "dim block"]


def _cone(t: Array, v: Array, tau: Array, omega: Array) -> _Cone:
    size, dual_size = _interior(t, v), _interior(tau, omega)
    s0, s1, z0, z1 = t / size, v / size[None], tau / dual_size, omega / dual_size[None]
    gamma = jnp.sqrt((1 + s0 * z0 + jnp.sum(s1 * z1, axis=0)) / 2)
    w1 = (s1 - z1) / (2 * gamma)[None]
    w0 = jnp.sqrt(1 + jnp.sum(w1**2, axis=0))  # = (s0 + z0) / (2 gamma), and on the hyperboloid to the last digit
    cone = _Cone(w0, w1, jnp.sqrt(size / dual_size), w0, w1)
    lam0, lam1 = _scale(cone, tau, omega)
    return cone._replace(lam0=lam0, lam1=lam1)


def _interior(t: Array, v: Array) -> Array:
    """sqrt(t^2 - |v|^2), by its factors."""
    size = norms(v)
    return jnp.sqrt((t - size) * (t + size))


def _scale(cone: _Cone, u0: Array, u1: Array, inverse: bool = False) -> tuple[Array, Array]:
    """W u, or W^-1 u = J W J u / eta^2."""
    p0 = jnp.sqrt((cone.w0 + 1) / 2)
    p1 = cone.w1 / (2 * p0)[None]
    flip, eta = (-1, 1 / cone.eta) if inverse else (1, cone.eta)
    along = p0 * u0 + flip * jnp.sum(p1 * u1, axis=0)
    return eta * (2 * p0 * along - u0), eta[None] * (flip * 2 * p1 * along[None] + u1)


def _divide(cone: _Cone, c0: Array, c1: Array) -> tuple[Array, Array]:
    """u of lam o u = c in the Jordan algebra (s0, s1) o (u0, u1) = (s.u, s0 u1 + u0 s1)."""
    l0, l1 = cone.lam0, cone.lam1
    determinant = _interior(l0, l1) ** 2
    along = jnp.sum(l1 * c1, axis=0)
    return (l0 * c0 - along) / determinant, c1 / l0[None] + l1 * ((along / l0 - c0) / determinant)[None]


def _room(value: Array, change: Array) -> Array:
    """The largest step that keeps value + step * change >= 0."""
    return jnp.min(jnp.where(change < 0, value / jnp.where(change < 0, -change, 1), jnp.inf), initial=jnp.inf)


def _room_in_cone(t: Array, v: Array, dt: Array, dv: Array) -> Array:
    """The largest step that keeps |v + step dv| <= t + step dt: the first root of a quadratic."""
    a, b, c = dt**2 - jnp.sum(dv**2, axis=0), t * dt - jnp.sum(v * dv, axis=0), _interior(t, v) ** 2
    discriminant = b**2 - a * c
    q = -(b + jnp.where(b >= 0, 1, -1) * jnp.sqrt(jnp.maximum(discriminant, 0)))
    roots = jnp.stack([jnp.where(a == 0, jnp.inf, q / jnp.where(a == 0, 1, a)), c / jnp.where(q == 0, 1, q)])
    first = jnp.min(jnp.where((roots > 0) & (jnp.stack([q, q]) != 0), roots, jnp.inf), axis=0)
    return jnp.min(jnp.where(discriminant >= 0, first, jnp.inf))


_OUTSIDE = 1e-8  # of the largest weights
_REACH = 0.98  # fraction of the way to the wall
_ROUNDS = 3  # of iterative refinement: close to the walls the blocks are ill-conditioned
_CENTRAL = 0.1  # of mu, the least product of a norm and its dual
_FLOOR = 1e-15  # of the curvature of a block, relative to its trace: where walls pin a block, rounding hides the rest


def step(state: State, program: Program, loss: Loss = losses.squared) -> State:
    """One predictor-corrector step, shortened so that primal and dual variables stay inside of their cones."""
    v, t, omega, slack, z = state
    _, y, active, _, weight_decay = program
    # the gated program has no cones: what follows then runs over no rows
    rows, side = _rows(program)[: len(slack)], (2 * active - 1)[: len(slack)]
    real = jnp.any(rows != 0, axis=1)[:, None]  # a zero row constrains nothing
    tau, still = jnp.full_like(t, weight_decay), jnp.zeros_like(t)
    f = outputs(v, program)
    cone = _cone(t, v, tau, omega)
    ratio = z / slack
    newton = _newton(program, cone, rows, ratio, jnp.sqrt(loss.curvature(f, y)))
    stationarity = pulled(loss.dual_point(f, y), program) + rows.T @ (side * z) + omega  # zero at the optimum
    infeasible = jnp.where(real, side * (rows @ v) - slack, 0)
    mu = (jnp.sum(t * tau) + jnp.sum(v * omega) + jnp.sum(slack * z)) / (t.size + slack.size)

    stiffness = 1 / cone.eta**2  # W^-2 = [[corner, edge'], [edge, stiffness (1 + 2 w1 w1')]]
    corner = stiffness * (2 * cone.w0**2 - 1)
    edge = -2 * (stiffness * cone.w0)[None] * cone.w1

    def direction(c0: Array, c1: Array, c: Array) -> State:
        """Newton's direction with lam o (W^-1 ds + W dz) = (c0, c1) and slack dz + z dslack = c."""
        b0, b1 = _scale(cone, *_divide(cone, c0, c1), inverse=True)
        dz = c / slack - ratio * infeasible
        dv = newton(stationarity + b1 + rows.T @ (side * dz) - edge * (b0 / corner)[None])
        dt = (b0 - jnp.sum(edge * dv, axis=0)) / corner
        domega = b1 - edge * dt[None] - stiffness[None] * (dv + 2 * cone.w1 * jnp.sum(cone.w1 * dv, axis=0)[None])
        moved = side * (rows @ dv)
        return State(dv, dt, domega, jnp.where(real, moved + infeasible, 0), dz - ratio * moved)

    def room(move: State) -> Array:
        """The largest step, at most 1, that stays inside."""
        primal, dual = _room_in_cone(t, v, move.t, move.weights), _room_in_cone(tau, omega, still, move.omega)
        cones = jnp.minimum(_room(slack, move.slack), _room(z, move.multiplier))
        return jnp.minimum(jnp.minimum(primal, dual), cones)

    square0 = cone.lam0**2 + jnp.sum(cone.lam1**2, axis=0)
    square1 = 2 * cone.lam0[None] * cone.lam1
    predictor = direction(-square0, -square1, -slack * z)
    target = (1 - jnp.minimum(room(predictor), 1)) ** 3 * mu
    # second order of the products: (W^-1 ds) o (W dz)
    primal0, primal1 = _scale(cone, predictor.t, predictor.weights, inverse=True)
    dual0, dual1 = _scale(cone, still, predictor.omega)
    corrector = direction(
        target - square0 - primal0 * dual0 - jnp.sum(primal1 * dual1, axis=0),
        -square1 - primal0[None] * dual1 - dual0[None] * primal1,
        target - slack * z - predictor.slack * predictor.multiplier,
    )
    length = jnp.minimum(_REACH * room(corrector), 1)
    return _inside(jax.tree.map(lambda value, change: value + length * change, state, corrector), weight_decay, target)


def _inside(state: State, weight_decay: Array, mu: Array) -> State:
    """The state with norms that come next to the wall of their cone before their turn, or onto it by rounding, inside of it.

    The products (t + |v|) (tau - |omega|) and (t - |v|) (tau + |omega|) are mu in the middle of the cone.
    """
    v, t, omega, *_ = state
    size, length = norms(v), norms(omega)
    least = jnp.maximum(_CENTRAL * mu / (t + size), 8 * jnp.finfo(t.dtype).eps * weight_decay)
    most = weight_decay - jnp.minimum(least, weight_decay / 2)
    shrunk = jnp.where(length > most, most / jnp.where(length > 0, length, 1), 1)
    apart = jnp.maximum(_CENTRAL * mu / (weight_decay + length), 8 * jnp.finfo(t.dtype).eps * size)
    return state._replace(t=jnp.maximum(t, size + apart), omega=omega * shrunk[None])


_Solve = Callable[[Array], Array]  # of a linear system with (dim, block) on the right


def _newton(program: Program, cone: _Cone, rows: Array, ratio: Array, root: Array) -> _Solve:
    """The solution of (blockdiag(A) + F' root^2 F) u = b, for any b; rows, ratio = z/slack and cone give the A_b."""
    gram, block_solve = _confined(program, cone, rows, ratio) if len(rows) else _free(program, cone)
    eye = jnp.eye(root.size, dtype=root.dtype)
    outer = jnp.linalg.cholesky(eye + root[:, None] * gram * root[None])

    bend = 2 / (2 * cone.w0**2 - 1)

    def times(u: Array) -> Array:
        """The matrix on a vector, term by term."""
        along = bend * jnp.sum(cone.w1 * u, axis=0)
        of_norms = (u - cone.w1 * along[None]) / (cone.eta**2)[None]
        return rows.T @ (ratio * (rows @ u)) + of_norms + pulled(root**2 * outputs(u, program), program)

    def by_factors(b: Array) -> Array:
        first = block_solve(b)
        inside = cho_solve((outer, True), root * outputs(first, program))
        return first - block_solve(pulled(root * inside, program))

    def solve(b: Array) -> Array:
        return jax.lax.fori_loop(0, _ROUNDS, lambda _, u: u + by_factors(b - times(u)), jnp.zeros_like(b))

    return solve


def _confined(program: Program, cone: _Cone, rows: Array, ratio: Array) -> tuple[Array, _Solve]:
    """F A^-1 F' and A^-1 for A = rows' ratio rows + (1 - 2 w1 w1'/(2 w0^2 - 1))/eta^2, t being eliminated."""
    dim, num_blocks = cone.w1.shape
    eye = jnp.eye(dim, dtype=rows.dtype)
    length = norms(cone.w1)
    axis = (cone.w1 / jnp.where(length > 0, length, 1)[None]).T
    share = 1 - 1 / (2 * cone.w0**2 - 1)  # = 2 |w1|^2/(2 w0^2 - 1)
    norm = eye[None] - share[:, None, None] * axis[:, :, None] * axis[:, None, :]
    squares = (rows[:, :, None] * rows[:, None, :]).reshape(-1, dim * dim)
    block = (ratio.T @ squares).reshape(num_blocks, dim, dim) + norm / (cone.eta**2)[:, None, None]
    floor = _FLOOR * jnp.trace(block, axis1=1, axis2=2)
    lower = jnp.linalg.cholesky(block + floor[:, None, None] * eye[None])
    half = triangular_solve(lower, jnp.broadcast_to(eye, block.shape), left_side=True, lower=True)  # A^-1 = half' half
    on = (program.active * jnp.abs(program.sign)[None]).T
    seen = ((half @ program.x.T[None]) * on[:, None, :]).reshape(num_blocks * dim, -1)
    return seen.T @ seen, lambda b: jnp.einsum("bki,bk->ib", half, jnp.einsum("bki,ib->bk", half, b))


def _free(program: Program, cone: _Cone) -> tuple[Array, _Solve]:
    """`_confined` without rows, where A^-1 = eta^2 (1 + 2 w1 w1')."""
    x, on, flexible = program.x, program.active * jnp.abs(program.sign)[None], cone.eta**2
    bent = on * (x @ cone.w1)
    gram = ((on * flexible[None]) @ on.T) * (x @ x.T) + (bent * (2 * flexible)[None]) @ bent.T
    return gram, lambda b: flexible[None] * (b + 2 * cone.w1 * jnp.sum(cone.w1 * b, axis=0)[None])
