"""The alternating direction method of multipliers for the ReLU program with squared loss, factorised once.

With copies u = v of the weights, slacks s >= 0 of the cones, scaled duals lam, nu and penalty rho,

    u   <- solve (1 + F'F/rho + G'G) u = F'y/rho + v - lam + G'(s - nu)
    v_b <- (1 - beta/(rho ||u_b + lam_b||))_+ (u_b + lam_b),     s <- (G u + nu)_+
    lam <- lam + kappa (u - v),                                  nu <- nu + kappa (G u - s)

The paper factors the (2 dim P) x (2 dim P) matrix. It need not be formed: G_b'G_b = x'x for every pattern, so that the
matrix is blockdiag(M, .., M) + F'F/rho with one M = 1 + x'x, and F M^-1 F' = (x M^-1 x') * (D D') entry by entry. Two
Cholesky factors, dim x dim and sample x sample, serve all patterns: n^2 P + n^3/3 flops once in place of (2 dim P)^3/3,
and O(n dim P + n^2) a step. The iterates are the paper's.

Source: Bai, Gautam and Sojoudi, arXiv 2201.01965, Algorithm 3.1, as restated in public code and a student report; the
factorisation and the lower bound are derived here. kappa = gamma_a/rho in the paper's letters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, ArrayLike, Float

from . import losses
from .fista import projected, shrink
from .program import Bounds, Program, Solution, norms, outputs, pulled, run


class State(NamedTuple):
    weights: Float[Array, "dim block"]  # v, sparse in blocks
    copy: Float[Array, "dim block"]  # u
    slack: Float[Array, "sample block"]  # s
    dual_copy: Float[Array, "dim block"]  # lam
    dual_slack: Float[Array, "sample block"]  # nu, at most zero


class Factors(NamedTuple):
    """What a program and a penalty fix."""

    program: Program
    rho: Float[Array, ""]
    inner: Float[Array, "dim dim"]  # Cholesky factor of M = 1 + x'x
    outer: Float[Array, "sample sample"]  # Cholesky factor of rho + F M^-1 F'


def prepare(program: Program, rho: ArrayLike) -> Factors:
    """Factorise once. Programs that differ in beta and y alone share it."""
    x, active = program.x, program.active
    rho = jnp.asarray(rho, x.dtype)
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
    v = shrink(u + state.dual_copy, program.beta / rho)
    s = jax.nn.relu(heights + state.dual_slack)
    return State(v, u, s, state.dual_copy + kappa * (u - v), state.dual_slack + kappa * (heights - s))


def measure(state: State, factors: Factors) -> Bounds:
    """The objective at the weights projected on their cones, and the bound of the residual and the cones' multipliers."""
    program = factors.program
    x, y, active, sign, beta = program
    nu = y - outputs(state.copy, program)
    multiplier = jax.nn.relu(-factors.rho * state.dual_slack)
    pull = pulled(nu, program) + x.T @ ((2 * active - 1) * multiplier)
    bound = losses.squared.bound(nu, jnp.max(jnp.abs(sign) * norms(pull)), y, beta)
    objective = convex_objective(state._replace(weights=projected(state.weights, program)), program)
    return Bounds(objective, bound)


def network_objective(state: State, program: Program) -> Float[Array, ""]:
    """The objective of the network whose neurons the blocks become, in their cones or not."""
    f = jax.nn.relu(program.x @ state.weights) @ program.sign
    return jnp.sum((f - program.y) ** 2) / 2 + program.beta * jnp.sum(jnp.abs(program.sign) * norms(state.weights))


def convex_objective(state: State, program: Program) -> Float[Array, ""]:
    """The objective of the program at the weights, which may be outside of their cones (and then below the optimum)."""
    f = outputs(state.weights, program)
    return jnp.sum((f - program.y) ** 2) / 2 + program.beta * jnp.sum(jnp.abs(program.sign) * norms(state.weights))


def solve(
    program: Program,
    *,
    rho: ArrayLike = 0.1,
    dual_step: ArrayLike = 1.0,
    rtol: ArrayLike = 1e-6,
    max_steps: int = 20_000,
    start: State | None = None,
) -> Solution:
    """Iterate until the verified gap is at most rtol * objective."""
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
