r"""The value of the robust convex program is the worst case of the network that it returns, as found by attacking that network.

$$
\begin{align*}
\text{attacked} &= \min_v\; \frac{1}{n} \sum_k (1 - y_k\, x_k\cdot g_k + \epsilon \|g_k\|_1)_+ + \beta \sum_b \|v_b\|, \qquad
  g_k = \sum_b s_b D_{kb} v_b \\
&\text{subject to } \; (2 D_{kb} - 1)\, x_k\cdot v_b \ge \epsilon \|v_b\|_1 \quad \text{for all } k, b \\
\text{clean} &= \frac{1}{n} \sum_k (1 - y_k\, x_k\cdot g_k)_+ + \beta \sum_b \|v_b\| \quad \text{at the same } v
\end{align*}
$$

Here $v_b$ are the weights of the pattern $D_b$ with the sign $s_b$, and $g_k$ is the gradient of the network at $x_k$: the
constraints keep every activation in the box of radius $\epsilon$, in which the network is then linear.

Source: Bai, Gautam and Sojoudi, arXiv 2201.01965 (the program as recalled); that the value is attained is derived here
Cost: 15 s
"""

import itertools
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Static, Tolerance
from ...models.fully_connected import convex_relu, two_layer
from ...solvers import losses, robust
from ...solvers.program import Program, Solution, norms
from . import _problem


@dataclass(frozen=True)
class Config(_problem.Config):
    num_samples: Count = 12  # examples, paper n
    radius: Annotated[NonNegative, Static] = 0.1  # radius of the l_inf box round every point, paper eps
    num_attacks: Count = 4000  # random points of the box that are tried on every example, its corners beside them
    max_steps: Count = 6000  # iterations of the solver


class Result(NamedTuple):
    attacked: Float[Array, ""]  # mean hinge of the worst points found, and the penalty: the worst-case objective
    clean: Float[Array, ""]  # objective of the same network on the points themselves
    ordinary: Float[Array, ""] | None = None  # worst-case objective of the network of radius = 0, likewise


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    program = _program(config)
    trained, plain = _solve(config), _solve(config, radius=0.0)
    attacked = _attacked(key, trained, program, config)
    network = convex_relu.to_network(trained.weights, program.sign)
    clean = losses.network_objective(network, program.x, program.y, program.weight_decay, losses.hinge)
    return Result(attacked, clean, _attacked(key, plain, program, config))


def _program(config: Config) -> Program:
    """All patterns; labels by the sign of x_1 x_2, which no linear network gets right."""
    x, _ = config.points()
    y = jnp.asarray(np.sign(x[:, 0] * x[:, 1]))
    return config.program()._replace(y=y)


def _solve(config: Config, radius: float | None = None) -> Solution:
    radius = config.radius if radius is None else radius
    return robust.solve(_program(config), radius, rtol=1e-6, max_steps=config.max_steps)


def _attacked(key: PRNGKeyArray, solution: Solution, program: Program, config: Config) -> Float[Array, ""]:
    """The ReLU network itself, at the centre, the corners and random points of every box."""
    network = convex_relu.to_network(solution.weights, program.sign)
    corners = jnp.asarray(list(itertools.product((-1.0, 1.0), repeat=config.dim)), program.x.dtype)
    inside = jax.random.uniform(key, (config.num_attacks, config.dim), program.x.dtype, -1, 1)
    moves = config.radius * jnp.concatenate([jnp.zeros((1, config.dim), program.x.dtype), corners, inside])
    outputs = jax.vmap(jax.vmap(two_layer.apply, (None, 0)), (None, 0))(network, program.x[:, None] + moves[None])
    worst = jnp.min(program.y[:, None] * outputs, axis=1)
    return jnp.mean(jax.nn.relu(1 - worst)) + program.weight_decay * jnp.sum(norms(solution.weights))


def predict(config: Config) -> Result:
    """The bound that the dual proves of the program, and the hinge of its linear pieces."""
    program, solution = _program(config), _solve(config)
    f = convex_relu.outputs(solution.weights, program.sign, program.active, program.x)
    clean = losses.hinge.value(f, program.y) + program.weight_decay * jnp.sum(norms(solution.weights))
    return Result(solution.bound, clean)


TOLERANCE = {
    "attacked": Tolerance(
        2e-5,
        reason="the solver stops at a verified gap of 1e-6 of the value, or at max_steps with a gap of some 1e-5",
    ),
    "clean": Tolerance(2e-5, reason="the blocks may leave their cones, by as much as the solver leaves of the objective"),
}
QUICK = {"num_samples": 6, "num_attacks": 100, "max_steps": 4000}
GRID = {"radius": (0.0, 0.025, 0.05, 0.1, 0.15)}
