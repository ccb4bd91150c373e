r"""Gradient descent breaks the balance of incoming and outgoing weights of a nested network in proportion to its step size.

A deep linear network with decoders for every layer and prefix size is trained for a fixed time with several step sizes.
Gradient flow conserves the balance of every unit. A step of descent changes it by the same expression in the change of the
weights, which is of second order. A network without prefixes conserves a whole matrix; here its other entries move at any step
size.

$$
|\mathrm{row}_i W_n|^2 - |\mathrm{col}_i W_{n+1}|^2 - \sum_{m \geq i} |\mathrm{col}_i V_{n,m}|^2 = \mathrm{const} + O(\eta)
$$

Source: derived here, for training at several layers and prefix sizes as in Li et al., arXiv 2402.14776 (number recalled)
Cost: 10 s
"""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Precision, Tolerance, check
from ...models.linear import nested
from . import _population


@dataclass(frozen=True)
class Config:
    spectrum: _population.Spectrum = _population.SPECTRUM  # variances of the inputs (lambda)
    model: nested.Config = field(default_factory=lambda: _population.model(3, (3,), "all", scale=0.3))
    time: Positive = 5.0  # step size times updates; the loss has no factor 1/2
    num_steps: Annotated[tuple[Count, ...], MinLen(2), Distinct] = (5000, 10000, 20000)  # updates in that time, a run each
    dtype: Precision = "float64"  # the loss is compared to 1e-6 and better

    def __post_init__(self):
        check(self)
        _population.check_model(self.model, self.spectrum)


class Result(NamedTuple):
    relative_drift: Float[Array, "run"]  # drift over that of the last run
    unexplained: Float[Array, "run"]  # largest change of a conserved quantity that is not the sum of squared gradients
    drift: Float[Array, "run"] | None = None  # largest change of a conserved quantity
    other_drift: Float[Array, "run"] | None = None  # largest change of an entry off the diagonal, which is not conserved


def labels(config: Config) -> dict[str, tuple]:
    return {"run": config.num_steps}


def init(key: PRNGKeyArray, config: Config) -> nested.Params:
    return nested.init(key, config.model)


def simulate(state: nested.Params, config: Config) -> Result:
    covariance, weights = _population.covariance(config.spectrum), np.ones(config.model.width)

    def run(number: Array) -> tuple[Array, Array, Array]:
        rate = jnp.asarray(config.time, covariance.dtype) / number.astype(covariance.dtype)

        def step(_, carry: tuple[nested.Params, Array]) -> tuple[nested.Params, Array]:
            params, squares = carry
            after = nested.descend(params, rate, weights, covariance)
            change = jax.tree.map(jnp.subtract, after, params)
            return after, squares + nested.unit_balance(change)

        before = nested.balance_matrices(state)
        start = state, jnp.zeros(before.shape[:2])
        end, squares = jax.lax.fori_loop(0, number, step, start)
        change = nested.balance_matrices(end) - before
        drift = jnp.diagonal(change, axis1=1, axis2=2)
        off = change * (1 - jnp.eye(change.shape[-1]))[None]
        largest = [jnp.max(jnp.abs(values)) for values in (drift, drift - squares, off)]
        return largest[0], largest[1], largest[2]

    drift, unexplained, other = jax.lax.map(run, jnp.asarray(config.num_steps))
    return Result(drift / drift[-1], unexplained, drift, other)


def predict(config: Config) -> Result:
    number = np.array(config.num_steps)
    return Result(jnp.asarray(number[-1] / number), jnp.zeros(len(number)))


TOLERANCE = {
    "relative_drift": Tolerance(0.01, reason="the next order in the step size: sharpness times step size is at most 0.05"),
    "unexplained": Tolerance(0, 1e-12, reason="an identity: float64's rounding over the updates"),
}
QUICK = {"spectrum": (4.0, 1.0), "model.encoder.dim": 2, "model.encoder.widths": (2,), "model.encoder.num_outputs": 2}
QUICK |= {"model.num_outputs": 2, "time": 0.2, "num_steps": (20, 40)}
SEEDS = 8
