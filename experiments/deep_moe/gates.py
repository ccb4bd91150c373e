r"""Learned gates with ReLU experts find out both factors of the data, more or less one in each layer.

Inputs carry both factors, and each layer has a softmax gate on what it reads. Early in training experts that have been chosen
too often are left out, so that all are used. How much the gates come to tell about either factor is measured; nothing is
predicted of it. What is exact for any activation is that a gate learns only from differences between experts,

$$
A_1 = \dots = A_{N_1}, \quad B_1 = \dots = B_{N_2} \qquad \Rightarrow \qquad
\frac{\partial L}{\partial C_1} = \frac{\partial L}{\partial C_2} = 0
$$

which is tested at the end, with the first expert of each layer in the place of all.

Source: after Eigen, Ranzato and Sutskever, arXiv 1312.4314, who find "where" in the first and "what" in the second layer for
jittered digits (abstract read; the balance by running totals is recalled); the law and the runs are ours
Cost: 20 s
"""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Ge
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Precision, Tolerance, check
from ...models.linear import deep_moe
from ...tasks import where_what

LAYERS, FACTORS = ("first", "second"), ("where", "what")


@dataclass(frozen=True)
class Config:
    model: deep_moe.Config = field(
        default_factory=lambda: deep_moe.Config(dim=12, width=16, activation="relu", init_scale=0.3, gate_scale=0.1)
    )
    rank: Count = 4  # of the table of maps
    noise_std: NonNegative = 0.1  # of what is added to a product of that rank
    learning_rate: Positive = 0.005  # of Adam
    batch_size: Count = 128  # fresh examples a step
    num_balanced: Annotated[int, Ge(0)] = 500  # updates during which experts that lead are left out
    margin: Positive = 64.0  # by how many examples the running total of an expert may exceed the mean of its layer
    num_steps: Count = 2000  # updates
    num_test: Count = 2000  # fresh examples of the measurement
    dtype: Precision = "float64"  # for gradients that are zero

    def __post_init__(self):
        check(self)
        if self.model.dim <= self.model.num_first + self.model.num_second:
            raise ValueError(
                f"model.dim must be above the {self.model.num_first + self.model.num_second} entries of both factors, "
                f"got {self.model.dim}"
            )


class State(NamedTuple):
    params: deep_moe.Params
    optimizer: optax.OptState
    totals: deep_moe.Gates  # running sums of the gates
    table: where_what.Table
    key: PRNGKeyArray  # of the next batch
    steps: Float[Array, ""]  # updates so far


class Result(NamedTuple):
    gate_gradient: Float[Array, "layer"]  # largest entry for the gate of equal experts
    expert_gradient: Float[Array, "layer"] | None = None  # largest entry for equal experts, beside it
    information: Float[Array, "layer factor"] | None = None  # nats between the gate and a factor, at the end
    risk: Float[Array, ""] | None = None  # mean of |y - f(x)|^2 at the end
    power: Float[Array, ""] | None = None  # mean of |y|^2


def labels(config: Config) -> dict[str, tuple]:
    return {"layer": LAYERS, "factor": FACTORS}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_table, key_model, key = jax.random.split(key, 3)
    model = config.model
    numbers = model.num_first, model.num_second
    table = where_what.product_table(
        key_table, *numbers, model.num_outputs, model.dim - sum(numbers), config.rank, config.noise_std
    )
    params = deep_moe.init(key_model, model)
    totals = deep_moe.Gates(jnp.zeros(numbers[0]), jnp.zeros(numbers[1]))
    return State(params, _optimizer(config).init(params), totals, table, key, jnp.zeros(()))


def step(state: State, config: Config) -> State:
    key, key_batch = jax.random.split(state.key)
    drawn = where_what.sample(key_batch, config.batch_size, state.table)
    margin = jnp.where(state.steps < config.num_balanced, config.margin, jnp.inf)
    gradient, gates = jax.grad(_loss, has_aux=True)(state.params, drawn, state.totals, margin, config)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
        update, optimizer = _optimizer(config).update(gradient, state.optimizer)
    totals = jax.tree.map(lambda total, gate: total + jnp.sum(gate, axis=0), state.totals, gates)
    return state._replace(
        params=optax.apply_updates(state.params, update), optimizer=optimizer, totals=totals, key=key, steps=state.steps + 1
    )


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    drawn = where_what.sample(state.key, config.num_test, state.table)
    risk, gates = _loss(state.params, drawn, state.totals, jnp.inf, config)
    numbers = config.model.num_first, config.model.num_second
    information = [
        [deep_moe.mutual_information(gate, factor, n) for factor, n in zip((drawn.where, drawn.what), numbers, strict=True)]
        for gate in gates
    ]
    params = state.params
    equal = params._replace(
        first=jnp.broadcast_to(params.first[:1], params.first.shape),
        second=jnp.broadcast_to(params.second[:1], params.second.shape),
    )
    gradient, _ = jax.grad(_loss, has_aux=True)(equal, drawn, state.totals, jnp.inf, config)
    first, second, *by_gate = (jnp.max(jnp.abs(leaf)) for leaf in gradient)
    return Result(
        jnp.stack(by_gate),
        jnp.stack([first, second]),
        jnp.stack([jnp.stack(row) for row in information]),
        risk,
        jnp.mean(jnp.sum(drawn.y**2, axis=1)),
    )


def predict(config: Config) -> Result:
    return Result(jnp.zeros(len(LAYERS)))


def _optimizer(config: Config) -> optax.GradientTransformation:
    return optax.adam(config.learning_rate)


def _loss(
    params: deep_moe.Params, drawn: where_what.Sample, totals: deep_moe.Gates, margin: Array | float, config: Config
) -> tuple[Float[Array, ""], deep_moe.Gates]:
    """Mean squared error over a batch, and its gates."""
    model = config.model
    x = where_what.marked(drawn, model.num_first, model.num_second)
    first = deep_moe.balanced(jax.nn.softmax(x @ params.gate_first.T), totals.first, margin)
    z = jax.vmap(deep_moe.hidden, (None, 0, 0, None))(params, x, first, model.activation)
    second = deep_moe.balanced(jax.nn.softmax(z @ params.gate_second.T), totals.second, margin)
    f = jnp.einsum("nj,joh,nh->no", second, params.second, z)
    return jnp.mean(jnp.sum((f - drawn.y) ** 2, axis=1)), deep_moe.Gates(first, second)


TOLERANCE = {
    "gate_gradient": Tolerance(0, 1e-14, reason="exactly 0: rounding of float64, beside gradients of the experts of order 1"),
}
QUICK = {"model.width": 4, "batch_size": 8, "num_steps": 5, "num_test": 16}
SEEDS = 8
