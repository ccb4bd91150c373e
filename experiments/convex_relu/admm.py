r"""ADMM converges linearly to the global optimum, at the spectral radius of its linearisation there.

$$
\begin{align*}
p^* &= \min_v\; \frac{1}{2} \|F v - y\|^2 + \beta \sum_b \|v_b\| \quad \text{subject to } G v \ge 0 \\
\|z_{k+1} - z_k\| &\propto r^k, \qquad
r = \max_{|\lambda| < 1} |\lambda| \quad \text{over the eigenvalues } \lambda \text{ of } \frac{\partial T}{\partial z}(z^*)
\end{align*}
$$

Here $T$ is one iteration, $z_{k+1} = T(z_k)$, of weights, slacks and both scaled duals, $z^*$ its limit, $v_b$ the weights of
pattern $b$ with one sign, $F v = \sum_b s_b D_b X v_b$ and $G_b = (2 D_b - 1) X$. `objective` goes to $p^*$; `iterations` are
those of the printed algorithm, its matrix formed.

Source: Bai, Gautam and Sojoudi, arXiv 2201.01965, Algorithm 3.1 (linear convergence claimed in the abstract); rate derived here
Cost: 15 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Tolerance
from ...solvers import admm
from ...solvers.program import Program
from . import _problem


@dataclass(frozen=True)
class Config(_problem.Config):
    rho: Positive = 1.0  # penalty, paper rho
    num_steps: Count = 3000  # iterations
    rtol: Positive = 1e-4  # relative error of the objective whose first lasting attainment is counted


class Result(NamedTuple):
    objective: Float[Array, ""]  # of the network after num_steps
    iterations: Float[Array, ""]  # until the objective of the network stays within `rtol` of the optimum
    rate: Float[Array, ""]  # factor by which the change of the iterates shrinks, each iteration, at the end
    error: Float[Array, "iteration"] | None = None  # |objective of the network / optimum - 1|
    proved: Float[Array, "iteration"] | None = None  # verified gap / optimum: smallest objective less largest bound so far


def labels(config: Config) -> dict[str, tuple]:
    return {"iteration": tuple(range(1, config.num_steps + 1))}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    """Deterministic: the seed changes nothing."""
    program = config.program()
    factors = admm.prepare(program, config.rho)

    def advance(state: admm.State, _: None) -> tuple[admm.State, tuple]:
        new = admm.step(state, factors)
        change = jnp.linalg.norm(_moving(new) - _moving(state))
        return new, (admm.network_objective(new, program), admm.measure(new, factors), change)

    _, (objective, bounds, change) = jax.lax.scan(advance, admm.init(program), length=config.num_steps)
    optimum = config.optimum().objective
    proved = jax.lax.cummin(bounds.objective) - jax.lax.cummax(bounds.bound)
    return Result(
        objective[-1],
        _lasting(objective, optimum, config.rtol),
        _decay(change),
        jnp.abs(objective / optimum - 1),
        proved / optimum,
    )


def _moving(state: admm.State) -> Float[Array, "number"]:
    """What the next step depends on."""
    return ravel_pytree((state.weights, state.slack, state.dual_copy, state.dual_slack))[0]


def _lasting(objective: Float[Array, "iteration"], optimum: Float[Array, ""], rtol: float) -> Float[Array, ""]:
    """The first iteration, from 1, from which on the objective stays within rtol * optimum; NaN if none."""
    outside = jnp.abs(objective - optimum) > rtol * optimum
    number = jnp.arange(1, objective.size + 1, dtype=objective.dtype)
    first = 1 + jnp.max(jnp.where(outside, number, 0))
    return jnp.where(outside[-1], jnp.nan, first)


def _decay(change: Float[Array, "iteration"]) -> Float[Array, ""]:
    """exp of the slope of log(change), by least squares over its last four decades above rounding."""
    start = jnp.maximum(change[-1], 1e-11)
    inside = ((change >= start) & (change <= 1e4 * start)).astype(change.dtype)
    time = jnp.arange(change.size, dtype=change.dtype)
    value = jnp.log(jnp.maximum(change, 1e-300))
    time, value = (a - jnp.sum(inside * a) / jnp.sum(inside) for a in (time, value))
    return jnp.exp(jnp.sum(inside * time * value) / jnp.sum(inside * time**2))


def predict(config: Config) -> Result:
    """p* by the interior point; the count of the algorithm as printed, its matrix formed; the rate by linearisation."""
    program = config.program()
    optimum = config.optimum().objective
    objectives, state = _as_printed(program, config.rho, config.num_steps)
    factors = admm.prepare(program, config.rho)

    def moved(numbers: Float[Array, "number"]) -> Float[Array, "number"]:
        weights, slack, dual_copy, dual_slack = unravel(numbers)
        return _moving(admm.step(admm.State(weights, state.copy, slack, dual_copy, dual_slack), factors))

    numbers, unravel = ravel_pytree((state.weights, state.slack, state.dual_copy, state.dual_slack))
    size = jnp.abs(jnp.linalg.eigvals(jax.jacfwd(moved)(numbers)))
    # optima need not be unique, and the patterns of two cones may share a neuron: along them the eigenvalue is 1
    rate = jnp.max(jnp.where(size < 1 - 1e-6, size, 0))
    return Result(optimum, _lasting(objectives, optimum, config.rtol), rate)


def _as_printed(program: Program, rho: float, num_steps: int) -> tuple[Float[Array, "iteration"], admm.State]:
    """Algorithm 3.1 with F, G and the (2 dim P) x (2 dim P) matrix formed: the objectives of the networks, and a late state.

    Late is where the iterates change by less than 1e-8: at the limit itself a block may stand exactly on the edge between
    zero and not (of two cones that share a neuron, one may carry it), where the step has no derivative.
    """
    x, y, active, sign, weight_decay = program
    (num_samples, dim), blocks = x.shape, sign.size
    F = ((active * sign[None])[:, :, None] * x[:, None, :]).reshape(num_samples, blocks * dim)
    pieces = (2 * active - 1).T[:, :, None] * x[None]
    G = jax.scipy.linalg.block_diag(*pieces)
    matrix = jnp.eye(blocks * dim, dtype=x.dtype) + F.T @ F / rho + G.T @ G
    factor = jax.scipy.linalg.cho_factor(matrix)

    def advance(carry: tuple, _: None) -> tuple[tuple, Array]:
        now, late = carry
        v, s, lam, nu, _ = now
        u = jax.scipy.linalg.cho_solve(factor, F.T @ y / rho + v - lam + G.T @ (s - nu))
        free = (u + lam).reshape(blocks, dim)
        size = jnp.linalg.norm(free, axis=1, keepdims=True)
        v = (jnp.maximum(1 - weight_decay / (rho * jnp.maximum(size, 1e-300)), 0) * free).ravel()
        s = jnp.maximum(G @ u + nu, 0)
        new = v, s, lam + u - v, nu + G @ u - s, u
        moving = sum(jnp.sum((a - b) ** 2) for a, b in zip(new, now, strict=True)) > 1e-16
        late = jax.tree.map(lambda a, b: jnp.where(moving, a, b), new, late)
        neurons = v.reshape(blocks, dim)
        f = jnp.maximum(x @ neurons.T, 0) @ sign
        objective = jnp.sum((f - y) ** 2) / 2 + weight_decay * jnp.sum(jnp.linalg.norm(neurons, axis=1))
        return (new, late), objective

    none, cones = jnp.zeros(blocks * dim, x.dtype), jnp.zeros(blocks * num_samples, x.dtype)
    start = none, cones, none, cones, none
    (_, (v, s, lam, nu, u)), objectives = jax.lax.scan(advance, (start, start), length=num_steps)
    v, lam, u = (flat.reshape(blocks, dim).T for flat in (v, lam, u))
    s, nu = (flat.reshape(blocks, num_samples).T for flat in (s, nu))
    return objectives, admm.State(v, u, s, lam, nu)


TOLERANCE = {
    "objective": Tolerance(1e-6, reason="3000 iterations at the slowest rate, 0.9934, leave exp(-3000 * 0.0066) of the error"),
    "iterations": Tolerance(0.02, reason="both algorithms make the same iterates but for rounding, which may move the count"),
    "rate": Tolerance(0.001, reason="the rate is read off four decades of a decay that has other modes in it"),
}
QUICK = {"num_samples": 5, "num_steps": 400, "rho": 0.3}
GRID = {"rho": (0.1, 0.3, 1.0)}
