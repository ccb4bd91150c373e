"""Training, in the shape of an experiment: linear regression by gradient descent, measured at its end and on the way."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closedform.contract import Count, Positive, Tolerance, check


@dataclass(frozen=True)
class Config:
    dim: Count = 3  # inputs
    num_steps: Count = 40  # updates
    learning_rate: Positive = 0.1  # step size
    scale: Positive = 1.0  # of what is measured; no part of the training
    dtype: str = "float64"  # small differences are meant

    def __post_init__(self):
        check(self)


class Weights(NamedTuple):
    w: Float[Array, "dim"]
    counter: Float[Array, ""]
    key: Float[Array, "3"]  # a name that the state around it has too


class State(NamedTuple):
    params: Weights
    target: Float[Array, "dim"]
    key: PRNGKeyArray


class Result(NamedTuple):
    error: Float[Array, "coordinate"]  # scale times what is missing
    draw: Float[Array, ""] | None = None  # by the key at the end


class Curves(NamedTuple):
    loss: Float[Array, ""]


def init(key: PRNGKeyArray, config: Config) -> State:
    key_target, key = jax.random.split(key)
    target = jax.random.normal(key_target, (config.dim,))
    return State(Weights(jnp.zeros_like(target), jnp.zeros(()), jnp.ones(3)), target, key)


def step(state: State, config: Config) -> State:
    w = state.params.w + config.learning_rate * (state.target - state.params.w)
    return State(Weights(w, state.params.counter + 1, state.params.key), state.target, jax.random.split(state.key)[0])


def num_steps(config: Config) -> int:
    return config.num_steps


def observe(state: State, config: Config) -> Curves:
    return Curves(jnp.sum((state.target - state.params.w) ** 2) / 2)


def steps(config: Config) -> np.ndarray:
    return np.arange(0, config.num_steps + 1, 10)


def simulate(state: State, config: Config) -> Result:
    return Result(config.scale * (state.target - state.params.w), jax.random.uniform(state.key))


def predict(state: State, config: Config) -> Result:
    return Result(config.scale * (1 - config.learning_rate) ** config.num_steps * state.target)


def labels(config: Config) -> dict[str, tuple]:
    return {"coordinate": tuple(f"x{index}" for index in range(config.dim))}


TOLERANCE = {"error": Tolerance(1e-10, reason="rounding")}
QUICK = {"num_steps": 20}
