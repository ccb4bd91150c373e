"""Dynamics with an exact conditional prediction: x shrinks by (1 - rate) a step.

Source: none
Cost: 1 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closedform.contract import Tolerance


@dataclass(frozen=True)
class Config:
    dim: int = 5  # coordinates
    rate: float = 0.1  # shrinkage of a step
    num_steps: int = 60  # updates

    def __post_init__(self):
        if not 0 < self.rate < 2:
            raise ValueError(f"rate must lie between 0 and 2, got {self.rate}")


class Result(NamedTuple):
    x: Float[Array, "coordinate"]
    total: Float[Array, ""]
    noise: Float[Array, ""] | None


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
    return Result(factor[:, None] * state.x[None], factor * state.x.sum(), None)


TOLERANCE = {
    "x": Tolerance(1e-5, reason="float32 rounding over 60 steps"),
    "total": Tolerance(1e-5, reason="float32 rounding over 60 steps"),
}
QUICK = {"num_steps": 8}
PRESETS = {"wide": {"dim": 9}}
