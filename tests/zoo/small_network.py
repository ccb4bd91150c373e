"""Dynamics of a small tanh network under SGD, measured through LAPACK: products, transcendental functions, draws.

Source: none
Cost: 1 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closedform.contract import Count, Positive, check


@dataclass(frozen=True)
class Config:
    dim: Count = 6  # inputs
    width: Count = 10  # hidden units
    batch_size: Count = 12  # fresh inputs a step
    learning_rate: Positive = 0.1  # step size
    num_steps: Count = 30  # updates

    def __post_init__(self):
        check(self)


class Result(NamedTuple):
    eigenvalues: Float[Array, "input"] | None = None
    output: Float[Array, ""] | None = None


class State(NamedTuple):
    w: jax.Array
    a: jax.Array
    key: PRNGKeyArray


def init(key, config):
    key_w, key_a, key_data = jax.random.split(key, 3)
    return State(jax.random.normal(key_w, (config.dim, config.width)), jax.random.normal(key_a, (config.width,)), key_data)


def step(state, config):
    key, key_batch = jax.random.split(state.key)
    x = jax.random.normal(key_batch, (config.batch_size, config.dim))

    def loss(layers):
        w, a = layers
        return jnp.mean((jnp.tanh(x @ w) @ a / config.width**0.5 - jnp.exp(-(x[:, 0] ** 2))) ** 2)

    slopes = jax.grad(loss)((state.w, state.a))
    w, a = (layer - config.learning_rate * slope for layer, slope in zip(state[:2], slopes, strict=True))
    return State(w, a, key)


def observe(state, config):
    return Result(jnp.linalg.eigvalsh(state.w @ state.w.T), jnp.tanh(state.w).sum(axis=0) @ state.a)


def steps(config):
    return np.array([0, 1, config.num_steps])


QUICK = {"num_steps": 5}
