"""Dynamics in which some seeds overflow, and nothing that depends on where a chunk ends.

Source: none
Cost: 1 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@dataclass(frozen=True)
class Config:
    limit: float = 0.5  # a seed whose first draw is above it diverges
    num_steps: int = 40


class Result(NamedTuple):
    size: Float[Array, ""]


class State(NamedTuple):
    explodes: jax.Array
    x: jax.Array


def init(key, config):
    return State(jax.random.uniform(key) > config.limit, jnp.asarray(2.0))


def step(state, config):
    # an exploding seed overflows to inf - inf = nan in about seven squarings, and would recover by itself: nan ** 0 = 1
    x = jnp.where(state.explodes, state.x**2 - jnp.sqrt(state.x), state.x)
    return State(state.explodes, jnp.where(jnp.isnan(state.x), 1.0, x))


def observe(state, config):
    return Result(state.x)


def steps(config):
    return np.arange(config.num_steps + 1)


def predict(config, steps):
    return Result(jnp.full(len(steps), 2.0))


QUICK = {"num_steps": 5}
