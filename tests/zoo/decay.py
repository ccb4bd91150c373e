"""Dynamics with an exact conditional prediction: x shrinks by (1 - rate) a step.

Source: none
Cost: 1 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Gt, Lt
from jaxtyping import Array, Float, PRNGKeyArray

from closedform.contract import Count, Tolerance, check


@dataclass(frozen=True)
class Config:
    dim: Count = 5  # coordinates
    rate: Annotated[float, Gt(0), Lt(2)] = 0.1  # shrinkage of a step
    num_steps: Count = 60  # updates

    def __post_init__(self):
        check(self)


class Result(NamedTuple):
    x: Float[Array, "coordinate"]
    total: Float[Array, ""]
    noise: Float[Array, ""] | None = None


class State(NamedTuple):
    key: PRNGKeyArray
    x: jax.Array


def init(key, config):
    return State(key, 1 + jax.random.uniform(key, (config.dim,)))


def step(state, config):
    return State(jax.random.fold_in(state.key, 1), state.x * (1 - config.rate))


def observe(state, config):
    return Result(state.x, state.x.sum(), jax.random.normal(state.key, (), state.x.dtype))


def steps(config):
    return np.array([0, 1, 7, config.num_steps // 2, config.num_steps])


def predict(state, config, steps):
    factor = (1 - config.rate) ** jnp.asarray(steps, float)
    return Result(factor[:, None] * state.x[None], factor * state.x.sum())


TOLERANCE = {
    "x": Tolerance(1e-5, reason="float32 rounding over 60 steps"),
    "total": Tolerance(1e-5, reason="float32 rounding over 60 steps"),
}
QUICK = {"num_steps": 8}
PRESETS = {"wide": {"dim": 9}}
