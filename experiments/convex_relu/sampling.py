r"""A program on N sampled patterns is an upper bound; a further pattern lowers it with probability E[s]/(N + 1).

Of $N + 1$ random directions, $s$ counts the indispensable ones: those whose pattern cannot be left out without raising the
value. The directions are exchangeable, so the last one is indispensable, and lowers the value of the first $N$, with
probability exactly $\mathbb{E}[s]/(N + 1)$.

$$
\begin{align*}
\Pr[\, p_{N+1} < p_N \,] &= \frac{\mathbb{E}[s]}{N + 1} \\
p_N &= \min_v\; \frac{1}{2} \| \sum_b s_b D_b X v_b - y \|^2 + \beta \sum_b \|v_b\| \quad
  \text{subject to } (2 D_b - 1) X v_b \ge 0
\end{align*}
$$

Here $b$ runs over the patterns $D_b = \mathbf{1}[X g \ge 0]$ of the first $N$ directions $g$, each with both signs
$s_b = \pm 1$; $N$ is `num_directions`. `undercut` is 0: $p_N$ is never below the optimum over all patterns.

Source: sampled programs and their guarantee: Bai, Gautam and Sojoudi, arXiv 2201.01965 (recalled); the identity is derived here
Cost: 30 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Fraction, Tolerance
from ...models.fully_connected import convex_relu
from ...solvers import interior_point
from ...solvers.program import Program, Solution, relu_program
from ...theory.convex.cone_projection import cone_projection
from . import _problem


@dataclass(frozen=True)
class Config(_problem.Config):
    num_samples: Count = 10  # examples, paper n
    dim: Count = 3  # input dimension, paper d
    num_directions: Count = 20  # Gaussian directions drawn, repeated patterns among them (paper P_s)
    num_test: Count = 1000  # fresh directions that estimate the probability of an improvement
    failure: Fraction = 0.1  # probability psi with which the scenario bound may fail, for the figure


class Result(NamedTuple):
    improving: Float[Array, ""]  # share of fresh directions whose pattern lowers the value
    undercut: Float[Array, ""]  # how far the value of the network is below the optimum
    excess: Float[Array, ""] | None = None  # value / optimum - 1
    distinct: Float[Array, ""] | None = None  # different patterns among those drawn


def init(key: PRNGKeyArray, config: Config) -> Float[Array, "dim direction"]:
    """num_directions + 1 directions, of which the simulation sees all but the last, and then those for the tests."""
    return jax.random.normal(key, (config.dim, config.num_directions + 1 + config.num_test))


def simulate(state: Float[Array, "dim direction"], config: Config) -> Result:
    x, _ = (jnp.asarray(array) for array in config.points())
    drawn, tests = state[:, : config.num_directions], state[:, config.num_directions + 1 :]
    program = relu_program(*config.points(), drawn, 1.0)._replace(weight_decay=jnp.asarray(config.weight_decay, x.dtype))
    solution = interior_point.solve(program, cones=True, rtol=_RTOL)
    active = convex_relu.patterns(tests, x)
    nu = program.y - convex_relu.outputs(solution.weights, program.sign, program.active, x)
    side = 2 * active - 1
    # a pattern that was drawn cannot improve; of another, the dual constraint says whether it does
    height = jnp.max(jnp.stack([_largest(sign * nu, x, active, side) for sign in (1.0, -1.0)]), axis=0)
    known = jnp.any(jnp.all(active[:, :, None] == program.active[:, None, : config.num_directions], axis=0), axis=1)
    improving = jnp.mean(((height > config.weight_decay * (1 + _THRESHOLD)) & ~known).astype(x.dtype))
    optimum = config.optimum().objective
    return Result(
        improving,
        jax.nn.relu(optimum - solution.objective),
        solution.objective / optimum - 1,
        jnp.sum(_first(program.active[:, : config.num_directions]).astype(x.dtype)),
    )


_RTOL = 1e-9
_THRESHOLD = 1e-4  # of N/weight_decay - 1: the square root of what the solver leaves, as in descent.py


def _largest(nu: Array, x: Array, active: Array, side: Array) -> Float[Array, "direction"]:
    """max of nu . D x u over unit u in the cone, for every pattern."""
    pull = x.T @ (active * nu[:, None])
    inside = jax.vmap(cone_projection, (1, None, 1))(pull, x, side).point
    return jnp.linalg.norm(inside, axis=1)


def _first(active: Float[Array, "sample direction"]) -> Array:
    """Whether no earlier column is the same."""
    same = jnp.all(active[:, :, None] == active[:, None, :], axis=0)
    return ~jnp.any(jnp.tril(same, -1), axis=1)


def predict(state: Float[Array, "dim direction"], config: Config) -> Result:
    """s/(N + 1): of the first N + 1 directions, each one that carries weight is left out, and the program solved again."""
    count = config.num_directions + 1
    drawn = state[:, :count]
    program = relu_program(*config.points(), drawn, 1.0)._replace(weight_decay=jnp.asarray(config.weight_decay, state.dtype))

    def solve(program: Program) -> Solution:
        return interior_point.solve(program, cones=True, rtol=_RTOL)

    whole = solve(program)
    size = jnp.linalg.norm(whole.weights, axis=0)
    size = jnp.maximum(size[:count], size[count:])  # of either sign
    carrying = jnp.argsort(-size)[:_MOST]  # without weight a pattern can be left out, and the interior point shows all weight

    def without(index: Array) -> Float[Array, ""]:
        keep = (jnp.arange(count) != index).astype(state.dtype)
        return solve(program._replace(sign=program.sign * jnp.concatenate([keep, keep]))).bound

    raised = jax.lax.map(without, carrying) > whole.objective * (1 + 1e-8)  # proved: a bound above an objective
    needed = jnp.sum(raised.astype(state.dtype))
    # more would be needed than were tried: no prediction
    complete = (count <= _MOST) | (size[carrying[-1]] < 1e-4 * jnp.max(size))
    return Result(jnp.where(complete, needed / count, jnp.nan), jnp.zeros(()))


_MOST = 50


def predict_scenario(state: Float[Array, "dim direction"], config: Config) -> Result:
    """The guarantee: with probability 1 - psi, the share is below xi, the smallest that allows for P_s directions."""
    # P_s >= min((n + 1)/(psi xi) - 1, (2/xi)(n + 1 - log psi)), solved for xi
    n, psi, drawn = config.num_samples, jnp.asarray(config.failure, state.dtype), config.num_directions
    first = (n + 1) / (psi * (drawn + 1))
    second = 2 / drawn * (n + 1 - jnp.log(psi))
    return Result(jnp.minimum(1.0, jnp.minimum(first, second)), jnp.zeros(()))


TOLERANCE = {
    "improving": Tolerance(reason="an identity of expectations: exact"),
    "undercut": Tolerance(
        absolute=1e-6, reason="no network is better than the program on all patterns, which is solved to 1e-8"
    ),
}
SHARED = {
    "improving": "a fresh pattern lowers the value if it violates the dual constraint, which theory's projection on its cone "
    "decides; the prediction solves programs from which a pattern is left out, and projects nothing",
}
QUICK = {"num_samples": 6, "dim": 2, "num_directions": 4, "num_test": 50}
GRID = {"num_directions": (5, 10, 20)}  # from 40 on rare draws that miss a wide cone carry the mean: it takes 1000 seeds
SEEDS = 48
