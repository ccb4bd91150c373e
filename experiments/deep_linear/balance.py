r"""Gradient descent breaks the conservation laws of a deep linear network in proportion to its step size.

Gradient flow keeps $W_{l+1}^\top W_{l+1} - W_l W_l^\top$ between any two neighbouring layers, on any data, at any depth. A step
of size $\eta$ changes it by $\eta^2$ times what is of order 1, so that after a fixed time $\eta \times$ steps

$$
\text{drift}(\eta) = \eta\, C + O(\eta^2), \qquad
\log_2 \frac{\text{drift}(2 \eta)}{\text{drift}(\eta)} \to 1
$$

The sum $W_{l+1}^\top W_{l+1} + W_l W_l^\top$ is not conserved: it moves as far at any step size.

Source: K. Fukumizu, 1998; A. Saxe et al., arXiv 1312.6120 (both recalled); derived here again
Cost: 10 s
"""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Precision, Tolerance, check
from ...models.linear import deep_linear
from ...tasks import linear_map
from . import _descent


@dataclass(frozen=True)
class Config:
    model: deep_linear.Config = field(
        default_factory=lambda: deep_linear.Config(4, (4, 4, 4), 4, scheme="gaussian", scale=1.0)
    )  # of any depth from 2 on
    decay: Positive = 0.5  # input i has the variance i^-decay
    largest_rate: Positive = 0.02  # step size of the first run; each further run has half of the last one's
    num_steps: Count = 200  # updates of the first run; the time is largest_rate times these
    num_rates: Annotated[int, Ge(2)] = 4  # runs
    dtype: Precision = "float64"  # small differences of large numbers

    def __post_init__(self):
        check(self)
        if self.model.depth < 2:
            raise ValueError(f"model must have at least two layers, got {self.model.depth}")


class State(NamedTuple):
    params: deep_linear.Params
    task: linear_map.Task


class Result(NamedTuple):
    order: Float[Array, "pair"]  # log2 of the ratio of drifts at two step sizes
    sum_order: Float[Array, "pair"]  # the same of the sums, which are not conserved
    drift: Float[Array, "rate"] | None = None  # largest entry of a change of W_{l+1}^T W_{l+1} - W_l W_l^T
    sum_drift: Float[Array, "rate"] | None = None  # the same with the plus sign


def labels(config: Config) -> dict[str, tuple]:
    return {"rate": tuple(config.largest_rate / 2**k for k in range(config.num_rates))}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_model, key_map = jax.random.split(key)
    matrix = jax.random.normal(key_map, (config.model.num_outputs, config.model.dim))
    variances = jnp.arange(1.0, config.model.dim + 1) ** -config.decay
    return State(deep_linear.init(key_model, config.model), linear_map.moments(matrix, jnp.diag(variances)))


def simulate(state: State, config: Config) -> Result:
    def last(rate: int) -> deep_linear.Params:
        def update(_, params: deep_linear.Params) -> deep_linear.Params:
            learning_rate = config.largest_rate / 2**rate
            return _descent.descend(lambda p: deep_linear.population_loss(p, *state.task), params, learning_rate)

        return jax.lax.fori_loop(0, config.num_steps * 2**rate, update, state.params)

    drifts, sum_drifts = [], []
    for rate in range(config.num_rates):
        end = last(rate)
        drifts.append(_largest_change(deep_linear.imbalances(end), deep_linear.imbalances(state.params)))
        sum_drifts.append(_largest_change(_sums(end), _sums(state.params)))
    drift, sum_drift = jnp.stack(drifts), jnp.stack(sum_drifts)
    return Result(jnp.log2(drift[:-1] / drift[1:]), jnp.log2(sum_drift[:-1] / sum_drift[1:]), drift, sum_drift)


def predict(config: Config) -> Result:
    pairs = jnp.ones(config.num_rates - 1)
    return Result(pairs, 0 * pairs)


def _largest_change(after: tuple[Array, ...], before: tuple[Array, ...]) -> Float[Array, ""]:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(one - other)) for one, other in zip(after, before, strict=True)]))


def _sums(params: deep_linear.Params) -> tuple[Float[Array, "_ _"], ...]:
    """What the law would be with a wrong sign."""
    return tuple(above.T @ above + below @ below.T for below, above in zip(params.weights, params.weights[1:], strict=False))


TOLERANCE = {
    "order": Tolerance(
        0, 0.05, reason="the law is of first order: the next one bends it by the step size times rates of order 1"
    ),
    "sum_order": Tolerance(0, 0.02, reason="the sum is that of the flow up to first order in the step size"),
}
QUICK = {"model.dim": 2, "model.widths": (2,), "model.num_outputs": 2, "num_steps": 20, "num_rates": 2}
SEEDS = 16
