r"""The training curve of a two-layer linear network, from any balanced start, is the solution of a matrix Riccati equation.

On white inputs with the loss $\frac{1}{2} \mathbb{E} |y - W_2 W_1 x|^2$ and an imbalance
$W_2^\top W_2 - W_1 W_1^\top = \lambda I$ at the start, all second moments of the weights follow from

$$
\dot P = F P + P F - P^2, \qquad
P = \begin{pmatrix} W_1^\top W_1 & (W_2 W_1)^\top \\ W_2 W_1 & W_2 W_2^\top \end{pmatrix}, \qquad
F = \begin{pmatrix} -\frac{\lambda}{2} I & \Sigma^\top \\ \Sigma & \frac{\lambda}{2} I \end{pmatrix}
$$

in closed form. The start is random, so that its modes are those of nothing in particular; they turn into the singular vectors
of the map. Balanced networks learn them one after the other in sigmoids, lopsided ones all at once.

Source: A. Saxe et al., arXiv 1312.6120; C. Domine et al., arXiv 2409.14623 (both recalled); derived here again
Cost: 15 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Precision, Tolerance, check
from ...models.linear import deep_linear
from ...tasks import linear_map
from ...theory.linear_networks import riccati
from . import _descent


@dataclass(frozen=True)
class Config:
    spectrum: _descent.Spectrum = (4.0, 2.0, 1.0, 0.5)  # singular values of the map (s)
    model: deep_linear.Config = field(
        default_factory=lambda: deep_linear.Config(8, (8,), 8, scheme="lambda_balanced", scale=0.1)
    )  # W_1 and W_2 at the start, with the imbalance lambda
    learning_rate: Positive = 2e-3  # step size
    num_steps: Count = 5000  # updates
    num_records: Count = 50  # times of a record, evenly spaced
    dtype: Precision = "float64"  # as the curve

    def __post_init__(self):
        check(self)
        _descent.require_falling(self.spectrum, min(self.model.dim, self.model.num_outputs, *self.model.widths))
        if self.model.depth != 2 or self.model.scheme not in ("balanced", "lambda_balanced"):
            raise ValueError(
                f"model must have two layers and a balanced start, for the equation to close; got depth {self.model.depth} and "
                f"{self.model.scheme}"
            )


class Result(NamedTuple):
    loss: Float[Array, ""]  # E |y - f(x)|^2/2
    strength: Float[Array, "mode"]  # u_i^T W_2 W_1 v_i
    mixing: Float[Array, ""]  # norm of what W_2 W_1 has besides
    representation: Float[Array, "mode"]  # v_i^T W_1^T W_1 v_i: how strongly the hidden units see a mode
    readout: Float[Array, "mode"]  # u_i^T W_2 W_2^T u_i


def labels(config: Config) -> dict[str, tuple]:
    return {"mode": config.spectrum}


def init(key: PRNGKeyArray, config: Config) -> _descent.State:
    key_model, key_task = jax.random.split(key)
    vectors = linear_map.bases(key_task, len(config.spectrum), config.model.num_outputs, config.model.dim)
    task = linear_map.in_bases(jnp.asarray(config.spectrum, float), vectors)
    return _descent.State(deep_linear.init(key_model, config.model), vectors, task)


def step(state: _descent.State, config: Config) -> _descent.State:
    params = _descent.descend(lambda p: deep_linear.population_loss(p, *state.task), state.params, config.learning_rate)
    return state._replace(params=params)


def observe(state: _descent.State, config: Config) -> Result:
    first, second = state.params.weights
    loss = deep_linear.population_loss(state.params, *state.task)
    return _result(loss, second @ first, first.T @ first, second @ second.T, state.vectors)


def _result(loss: Array, product: Array, inputs: Array, outputs: Array, vectors: linear_map.Bases) -> Result:
    """Of one time."""
    strength = jnp.diagonal(_descent.in_vectors(product, vectors))
    mixing = jnp.linalg.norm(product - (vectors.left * strength[None, :]) @ vectors.right.T)
    seen = jnp.sum(vectors.right * (inputs @ vectors.right), axis=0)
    read = jnp.sum(vectors.left * (outputs @ vectors.left), axis=0)
    return Result(loss, strength, mixing, seen, read)


def steps(config: Config) -> np.ndarray:
    return np.unique(np.linspace(0, config.num_steps, config.num_records + 1).astype(int))


def predict(state: _descent.State, config: Config, steps: np.ndarray) -> Result:
    time = config.learning_rate * jnp.asarray(steps, float)
    flow = riccati.two_layer_flow(time, state.task.cross, *state.params.weights)
    loss = jnp.sum((state.task.cross[None] - flow.product) ** 2, axis=(1, 2)) / 2  # white inputs, and no label noise
    return jax.vmap(_result, (0, 0, 0, 0, None))(loss, *flow, state.vectors)


_LAG = (
    "the flow is the limit of small steps: a mode of strength s lags by learning_rate s^2 t/4 of s at time t, 0.8 % of "
    "the mode 4, learned at t = 1 at most, and 0.1 % of the last"
)
TOLERANCE = {
    "loss": Tolerance(0.01, 0.015, reason=f"{_LAG}; absolute: 0.8 % of 4 times the slope s - u of the loss"),
    "strength": Tolerance(0.01, 0.005, reason=f"{_LAG}; absolute: modes start near 0"),
    "mixing": Tolerance(0.01, 0.005, reason=f"{_LAG}; absolute: it passes through small values"),
    "representation": Tolerance(0.01, 0.005, reason=_LAG),
    "readout": Tolerance(0.01, 0.005, reason=_LAG),
}
QUICK = {
    "spectrum": (2.0, 1.0),
    "model.dim": 3,
    "model.widths": (2,),
    "model.num_outputs": 2,
    "num_steps": 400,
    "num_records": 4,
    "learning_rate": 5e-3,
}
SEEDS = 16
GRID = {"model.imbalance": (0.0, 1.0, 4.0)}
