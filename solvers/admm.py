r"""The alternating direction method of multipliers for the ReLU program with squared loss, factorised once.

With copies $u = v$ of the weights, slacks $s \ge 0$ of the cones, scaled duals $\lambda$, $\nu$, penalty $\rho$ and weight
decay $\beta$, where $F$ maps weights to outputs and $G_b = (2 D_b - 1)\, x$, a step solves

$$
\left(1 + \frac{F^\top F}{\rho} + G^\top G\right) u = \frac{F^\top y}{\rho} + v - \lambda + G^\top (s - \nu)
$$

for $u$, and then

$$
\begin{align*}
v_b &\leftarrow \left(1 - \frac{\beta}{\rho\, \|u_b + \lambda_b\|}\right)_+ (u_b + \lambda_b), & s &\leftarrow (G u + \nu)_+ \\
\lambda &\leftarrow \lambda + \kappa\, (u - v), & \nu &\leftarrow \nu + \kappa\, (G u - s)
\end{align*}
$$

The paper factors the $(2 d P) \times (2 d P)$ matrix, of $d$ inputs and $P$ patterns. It need not be formed:
$G_b^\top G_b = x^\top x$ for every pattern, so that the matrix is

$$
\operatorname{blockdiag}(M, \ldots, M) + \frac{F^\top F}{\rho}, \qquad M = 1 + x^\top x
$$

with one $M$, and $F M^{-1} F^\top = (x M^{-1} x^\top) \odot (D D^\top)$ entry by entry. Two Cholesky factors, $d \times d$ and
$n \times n$ for $n$ samples, serve all patterns: $n^2 P + n^3/3$ flops once in place of $(2 d P)^3/3$, and $O(n d P + n^2)$ a
step. The iterates are the paper's.

Source: Bai, Gautam and Sojoudi, arXiv 2201.01965, Algorithm 3.1, as restated in public code and a student report; the
factorisation and the lower bound are derived here. $\kappa = \gamma_a/\rho$ in the paper's letters.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float, Real

from ..documented import documented
from ..theory.numerics.arguments import ArrayLike, above, at_least, takes
from . import losses
from .fista import projected, shrink
from .program import VALID, Bounds, Program, Solution, norms, outputs, pulled, run


@documented
class State(NamedTuple):
    weights: Float[Array, "dim block"]  # v, sparse in blocks
    copy: Float[Array, "dim block"]  # u
    slack: Float[Array, "sample block"]  # s
    dual_copy: Float[Array, "dim block"]  # lam
    dual_slack: Float[Array, "sample block"]  # nu, at most zero


@documented
class Factors(NamedTuple):
    """The factorisation of a program with a penalty."""

    program: Program
    rho: Float[Array, ""]
    inner: Float[Array, "dim dim"]  # Cholesky factor of M = 1 + x'x
    outer: Float[Array, "sample sample"]  # Cholesky factor of rho + F M^-1 F'


@takes(program=VALID, rho=above(0, finite=True))
def prepare(program: Program, rho: Real[ArrayLike, ""]) -> Factors:
    """Factorise once. Programs that differ in weight_decay and y alone share it."""
    x, active = program.x, program.active
    inner = jnp.linalg.cholesky(jnp.eye(x.shape[1], dtype=x.dtype) + x.T @ x)
    gram = (x @ cho_solve((inner, True), x.T)) * ((active * jnp.abs(program.sign)[None]) @ active.T)
    return Factors(program, rho, inner, jnp.linalg.cholesky(rho * jnp.eye(len(x), dtype=x.dtype) + gram))


def init(program: Program) -> State:
    """All zero, as in the paper."""
    blocks = jnp.zeros((program.x.shape[1], program.sign.size), program.x.dtype)
    return State(blocks, blocks, jnp.zeros_like(program.active), blocks, jnp.zeros_like(program.active))


def step(state: State, factors: Factors, dual_step: ArrayLike = 1.0) -> State:
    """One iteration; `dual_step` is gamma_a/rho, 1 in standard ADMM."""
    program, rho, inner, outer = factors
    x, side = program.x, 2 * program.active - 1
    kappa = jnp.asarray(dual_step, x.dtype)
    right = pulled(program.y, program) / rho + state.weights - state.dual_copy
    right = right + x.T @ (side * (state.slack - state.dual_slack))
    first = cho_solve((inner, True), right)
    u = first - cho_solve((inner, True), pulled(cho_solve((outer, True), outputs(first, program)), program))
    heights = side * (x @ u)
    v = shrink(u + state.dual_copy, program.weight_decay / rho)
    s = jax.nn.relu(heights + state.dual_slack)
    return State(v, u, s, state.dual_copy + kappa * (u - v), state.dual_slack + kappa * (heights - s))


def measure(state: State, factors: Factors) -> Bounds:
    """The objective at the weights projected on their cones, and the lower bound that residual and multipliers prove."""
    program = factors.program
    x, y, active, sign, weight_decay = program
    nu = y - outputs(state.copy, program)
    multiplier = jax.nn.relu(-factors.rho * state.dual_slack)
    pull = pulled(nu, program) + x.T @ ((2 * active - 1) * multiplier)
    bound = losses.squared.bound(nu, jnp.max(jnp.abs(sign) * norms(pull)), y, weight_decay)
    objective = convex_objective(state._replace(weights=projected(state.weights, program)), program)
    return Bounds(objective, bound)


def network_objective(state: State, program: Program) -> Float[Array, ""]:
    """The objective of the network that has the blocks as neurons, whether they lie in their cones or not."""
    f = jax.nn.relu(program.x @ state.weights) @ program.sign
    return jnp.sum((f - program.y) ** 2) / 2 + program.weight_decay * jnp.sum(jnp.abs(program.sign) * norms(state.weights))


def convex_objective(state: State, program: Program) -> Float[Array, ""]:
    """The objective of the program at the weights, which may be outside of their cones (and then below the optimum)."""
    f = outputs(state.weights, program)
    return jnp.sum((f - program.y) ** 2) / 2 + program.weight_decay * jnp.sum(jnp.abs(program.sign) * norms(state.weights))


@takes(program=VALID, rho=above(0, finite=True), dual_step=above(0, finite=True), rtol=at_least(0), max_steps=at_least(0))
def solve(
    program: Program,
    *,
    rho: Real[ArrayLike, ""] = 0.1,
    dual_step: Real[ArrayLike, ""] = 1.0,
    rtol: Real[ArrayLike, ""] = 1e-6,
    max_steps: int = 20_000,
    start: State | None = None,
) -> Solution:
    """Iterate until the verified gap is at most rtol * objective. Compiled once for all programs of one shape."""
    return _solve(program, rho, dual_step, rtol, start, max_steps)


# inline: under a jit of the caller's the steps are part of that program
@partial(jax.jit, static_argnames="max_steps", inline=True)
def _solve(program: Program, rho: Array, dual_step: Array, rtol: Array, start: State | None, max_steps: int) -> Solution:
    factors = prepare(program, rho)
    state, bounds, steps = run(
        lambda s: step(s, factors, dual_step),
        lambda s: measure(s, factors),
        init(program) if start is None else start,
        rtol=rtol,
        max_steps=max_steps,
        every=20,
    )
    return Solution(projected(state.weights, program), *bounds, steps)
