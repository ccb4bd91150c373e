r"""Trained experts reach the best low-rank approximation of their table of maps, with hard gates and with soft ones alike.

Two layers of linear experts, driven by two factors, learn a table of $N_1 N_2$ random maps by gradient descent on the whole
distribution. With one-hot gates and with soft gates the risk ends at the sum over the singular values beyond the width; with a
first gate that does not know its factor it ends higher.

$$
\min R = \frac{1}{N_1 N_2} \sum_{r > h} \sigma_r(M)^2, \qquad M_{ba} = T_{ab}
$$

$N_1 N_2$ experts of full rank in one layer would have no risk.

Source: derived here (theorem of Eckart and Young); the architecture is of Eigen, Ranzato and Sutskever, arXiv 1312.4314
Cost: 18 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Ge, Lt, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, Positive, Precision, Tolerance, check
from ...models.linear import deep_moe
from ...tasks import where_what
from ...theory.linear_networks import expert_tables

GATES = ("one-hot", "soft", "uninformed")


@dataclass(frozen=True)
class Config:
    num_where: Count = 3  # values of the first factor, and experts of the first layer (N_1)
    num_what: Count = 4  # values of the second factor, and experts of the second layer (N_2)
    dim: Count = 5  # of the input (d)
    num_outputs: Count = 5  # of the output (o)
    rank: Count = 4  # of the product in the table
    noise_std: NonNegative = 0.5  # of what is added to it
    widths: Annotated[tuple[Count, ...], MinLen(1), Distinct] = (1, 2, 3, 4, 6, 8, 10, 12)  # hidden units (h)
    soft_gap: Positive = 1.0  # logit of the right expert over the others, of the soft gates
    init_scale: Positive = 0.05  # standard deviation of the weights at the start
    learning_rate: Positive = 0.2  # step size on the risk
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9  # Nesterov's
    num_steps: Count = 9000  # updates
    dtype: Precision = "float64"  # the prediction is exact

    def __post_init__(self):
        check(self)


class State(NamedTuple):
    """Networks of all gates and widths on two leading axes; all have the largest width, with units beyond their own at 0."""

    params: deep_moe.Params
    momentum: optax.OptState
    table: where_what.Table


class Result(NamedTuple):
    risk: Float[Array, "gate width"]  # mean of |y - f(x)|^2


def labels(config: Config) -> dict[str, tuple]:
    return {"gate": GATES, "width": config.widths}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_table, key_model = jax.random.split(key)
    sizes = config.num_where, config.num_what, config.num_outputs, config.dim
    table = where_what.product_table(key_table, *sizes, config.rank, config.noise_std)
    model = deep_moe.Config(
        config.dim, max(config.widths), config.num_outputs, config.num_where, config.num_what, "identity", init_scale=1.0
    )
    drawn = jax.tree.map(lambda p: jnp.asarray(config.init_scale, p.dtype) * p, deep_moe.init(key_model, model))
    there = (jnp.arange(max(config.widths))[None] < jnp.asarray(config.widths)[:, None]).astype(drawn.first.dtype)

    def narrowed(mask: Float[Array, "unit"]) -> deep_moe.Params:
        """Without the units beyond the width. Nothing reaches them: descent leaves them at 0."""
        return drawn._replace(first=drawn.first * mask[None, :, None], second=drawn.second * mask[None, None])

    widths = jax.vmap(narrowed)(there)
    params = jax.tree.map(lambda p: jnp.repeat(p[None], len(GATES), axis=0), widths)
    return State(params, _optimizer(config).init(params), table)


def step(state: State, config: Config) -> State:
    risks = jax.vmap(jax.vmap(_risk, (0, None, None)), (0, 0, None))
    gradient = jax.grad(lambda params: jnp.sum(risks(params, _gates(config), state.table)))(state.params)
    update, momentum = _optimizer(config).update(gradient, state.momentum)
    return state._replace(params=optax.apply_updates(state.params, update), momentum=momentum)


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    return Result(jax.vmap(jax.vmap(_risk, (0, None, None)), (0, 0, None))(state.params, _gates(config), state.table))


def predict(state: State, config: Config) -> Result:
    informed = jnp.stack([expert_tables.table_risk(state.table, width) for width in config.widths])
    uninformed = jnp.stack([expert_tables.uninformed_gate_risk(state.table, width) for width in config.widths])
    return Result(jnp.stack([informed, informed, uninformed]))


def _optimizer(config: Config) -> optax.GradientTransformation:
    return optax.sgd(config.learning_rate, config.momentum, nesterov=True)


def _gates(config: Config) -> deep_moe.Gates:
    """Gates of both layers for every value of their factor, with the kinds of gates on a leading axis."""
    eyes = jnp.eye(config.num_where), jnp.eye(config.num_what)
    soft = [deep_moe.factor_gate(number, config.soft_gap) for number in (config.num_where, config.num_what)]
    blind = jnp.full_like(eyes[0], 1 / config.num_where)
    return deep_moe.Gates(jnp.stack([eyes[0], soft[0], blind]), jnp.stack([eyes[1], soft[1], eyes[1]]))


def _risk(params: deep_moe.Params, gates: deep_moe.Gates, table: where_what.Table) -> Float[Array, ""]:
    """Mean over both factors and over x ~ N(0, I)."""
    return jnp.mean(jnp.sum((deep_moe.maps(params, *gates) - table) ** 2, axis=(2, 3)))


TOLERANCE = {
    "risk": Tolerance(
        1e-9, 1e-12, reason="descent has converged: rounding of float64; absolute where the width takes all modes"
    ),
}
QUICK = {"num_where": 2, "num_what": 2, "dim": 2, "num_outputs": 2, "rank": 1, "widths": (1, 2), "num_steps": 100}
SEEDS = 8
