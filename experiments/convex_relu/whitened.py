r"""On whitened data two neurons are globally optimal, each a soft threshold of the targets of one sign.

$$
\begin{align*}
\text{relu, trained} &= h(\|y_+\|) + h(\|y_-\|), \qquad \text{gated} = h(\|y\|) \\
\text{outputs} &= y_+ \left(1 - \frac{\beta}{\|y_+\|}\right)_+ - y_- \left(1 - \frac{\beta}{\|y_-\|}\right)_+ \\
h(z) &= \begin{cases} z^2/2 & z \le \beta \\ \beta z - \beta^2/2 & z > \beta \end{cases}
\end{align*}
$$

Here $X X^\top = 1$, $y_+ = \max(y, 0)$ and $y_- = \max(-y, 0)$, entry by entry, and $h$ is Huber's function.

Source: closed form derived here (for whitened data: Ergen and Pilanci, arXiv 2002.11219, abstract)
Cost: 10 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Le
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Precision, Tolerance, check
from ...solvers import descent, interior_point
from ...solvers.losses import network_objective
from ...solvers.program import gated_program, relu_program
from ...theory.convex import convex_relu as theory
from . import _descent


@dataclass(frozen=True)
class Config:
    num_samples: Annotated[Count, Le(10)] = 5  # examples, paper n; all 2^num_samples patterns are used
    dim: Count = 6  # input dimension, paper d; at least num_samples
    weight_decay: Positive = 0.2  # weight decay, paper beta
    width: Count = 40  # of the trained network
    init_scale: NonNegative = 0.3  # standard deviation of every weight at the start
    learning_rate: Positive = 0.01  # of Adam, falling to 0 by a cosine
    num_steps: Count = 10_000  # updates
    dtype: Precision = "float64"  # differences of 1e-6 are meant

    def __post_init__(self):
        check(self)
        if self.num_samples > self.dim:
            raise ValueError(f"num_samples must be at most dim = {self.dim}, got {self.num_samples}")


class State(NamedTuple):
    x: Float[Array, "sample dim"]  # orthonormal rows
    y: Float[Array, "sample"]
    network: descent.State


class Result(NamedTuple):
    relu: Float[Array, ""]  # optimum of the ReLU program on all patterns
    gated: Float[Array, ""]  # optimum of the gated program on all patterns
    outputs: Float[Array, "sample"]  # of the ReLU program's network
    trained: Float[Array, ""]  # objective of a network trained by Adam


def init(key: PRNGKeyArray, config: Config) -> State:
    """Rows of a random rotation, normal targets, and a network at its start."""
    key_x, key_y, key_start = jax.random.split(key, 3)
    x = jax.random.orthogonal(key_x, config.dim, m=config.num_samples).T
    start = _descent.start(key_start, config.dim, config.width, config.init_scale)
    network = descent.begin(start)
    return State(x, jax.random.normal(key_y, (config.num_samples,)), network)


def step(state: State, config: Config) -> State:
    x, y, network = state
    return State(x, y, _descent.step(network, x, y, config.weight_decay, config.learning_rate, config.num_steps))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    x, y, network = state
    # the rows are linearly independent, so every pattern of signs occurs, at x' signs
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * config.num_samples)).reshape(config.num_samples, -1)
    gates = x.T @ jnp.asarray(signs, x.dtype)
    program = relu_program(x, y, gates, config.weight_decay)
    relu = interior_point.solve(program, cones=True)
    gated = interior_point.solve(gated_program(x, y, gates, config.weight_decay), cones=False)
    trained = network_objective(network.params, x, y, config.weight_decay)
    return Result(relu.objective, gated.objective, jax.nn.relu(x @ relu.weights) @ program.sign, trained)


def predict(state: State, config: Config) -> Result:
    y, weight_decay = state.y, config.weight_decay
    optimum = theory.whitened_optimum(y, weight_decay)
    return Result(optimum, theory.whitened_gated_optimum(y, weight_decay), theory.whitened_prediction(y, weight_decay), optimum)


_SOLVED = "the interior point stops at a gap of 1e-8 of the objective"
TOLERANCE = {
    "relu": Tolerance(absolute=1e-6, reason=_SOLVED),
    "gated": Tolerance(absolute=1e-6, reason=_SOLVED),
    "outputs": Tolerance(absolute=0.001, reason="the objective is flat: outputs are known to the square root of its error"),
    "trained": Tolerance(absolute=1e-5, reason="Adam stops short of the optimum by 1e-5 at most"),
}
QUICK = {"num_samples": 3, "dim": 3, "num_steps": 500}
GRID = {"weight_decay": (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)}
SEEDS = 16
