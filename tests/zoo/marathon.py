"""Dynamics slow enough to be killed on the way, whose every step depends on all before it (a chaotic map, and its keys).

Source: none
Cost: 1 s
"""

import json
import time
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray


@dataclass(frozen=True)
class Config:
    rate: float = 3.9  # of the logistic map
    num_steps: int = 10000


class Result(NamedTuple):
    x: Float[Array, "place"]


class State(NamedTuple):
    key: PRNGKeyArray
    x: jax.Array
    nothing: jax.Array  # an array of no entries has to survive too


def init(key, config):
    return State(key, jax.random.uniform(key, (2000,)), jnp.zeros((0, 3)))


def step(state, config):
    key = jax.random.fold_in(state.key, 1)
    x = jax.lax.fori_loop(0, 40, lambda _, x: config.rate * x * (1 - x), state.x)
    return State(key, 0.999 * x + 0.001 * jax.random.uniform(key, x.shape), state.nothing)


def observe(state, config):
    return Result(state.x[:8])


def steps(config):
    return np.linspace(0, config.num_steps, 21).astype(int)


def predict(config, steps):
    return Result(jnp.zeros((len(steps), 8)))


TOLERANCE = {"x": (0.0, 1.0)}  # nothing is claimed
QUICK = {"num_steps": 20}


def work(results, log, options, settings):
    """A process's share of a sweep of this module, telling of every checkpoint that it makes and takes up."""
    from closedform.sweeps import Settings, checkpoints, sweep

    from . import marathon

    def tell(event, saved):
        with open(log, "a") as file:
            file.write(json.dumps([event, saved.runs, saved.begin, time.monotonic()]) + "\n")

    save, load = checkpoints.save, checkpoints.load

    def telling_save(*arguments):
        saved = save(*arguments)
        tell("saved", saved)
        return saved

    def telling_load(saved, rows, *rest):
        tell("taken up", saved._replace(runs=[saved.runs[row] for row in rows]))
        return load(saved, rows, *rest)

    checkpoints.save, checkpoints.load = telling_save, telling_load
    with open(log, "a") as file:
        file.write(json.dumps(["started", [], 0, time.monotonic()]) + "\n")
    return sweep(marathon, results=results, progress=False, say=str, settings=Settings(**settings), **options)
