"""Dynamics slow enough to be killed on the way, whose every step depends on all before it (a chaotic map, and its keys).

Source: none
Cost: 1 s
"""

import itertools
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closedform.contract import Tolerance


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
    return State(key, jax.random.uniform(key, (500,)), jnp.zeros((0, 3)))


def step(state, config):
    key = jax.random.fold_in(state.key, 1)
    x = jax.lax.fori_loop(0, 10, lambda _, x: config.rate * x * (1 - x), state.x)
    return State(key, 0.999 * x + 0.001 * jax.random.uniform(key, x.shape), state.nothing)


def observe(state, config):
    return Result(state.x[:8])


def steps(config):
    return np.linspace(0, config.num_steps, 21).astype(int)


def predict(config, steps):
    return Result(jnp.zeros((len(steps), 8)))


TOLERANCE = {
    "x": Tolerance(absolute=1.0, reason="nothing is claimed"),
}
QUICK = {"num_steps": 20}


def work(results, log, options, settings, *, after=None, stop=None, inside=None):
    """A process's share of a sweep of this module, telling of every checkpoint that it makes and takes up.

    So that no test has to be quick enough, the process sends itself the signal `stop` after so many checkpoints, or is killed
    at the file operation number `inside` of those that write checkpoints.
    """
    from closedform.sweeps import Settings, sweep
    from closedform.sweeps.engine import checkpoints

    from . import marathon

    def tell(event, saved):
        with open(log, "a") as file:
            file.write(json.dumps([event, saved.runs, saved.begin, time.monotonic()]) + "\n")

    save, load = checkpoints.save, checkpoints.load

    operations, made, saving = itertools.count(1), itertools.count(1), threading.local()

    def telling_save(*arguments):
        saving.now = True
        saved = save(*arguments)
        saving.now = False
        tell("saved", saved)
        if next(made) == after:
            os.kill(os.getpid(), stop)
        return saved

    def count(event, _):
        if event in ("open", "os.mkdir", "os.rename") and getattr(saving, "now", False) and next(operations) == inside:
            os.kill(os.getpid(), signal.SIGKILL)

    def telling_load(saved, rows, *rest):
        tell("taken up", saved._replace(runs=[saved.runs[row] for row in rows]))
        return load(saved, rows, *rest)

    if inside is not None:
        sys.addaudithook(count)
    checkpoints.save, checkpoints.load = telling_save, telling_load
    with open(log, "a") as file:
        file.write(json.dumps(["started", [], 0, time.monotonic()]) + "\n")
    return sweep(marathon, results=results, progress=False, say=str, settings=Settings(**settings), **options)
