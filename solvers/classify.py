"""Training a classifier: AdamW on the mean cross-entropy of random batches, one update at a time.

In the shape of an experiment that trains: `start` in its `init`, `step` in its `step`, `training.num_steps` in its `num_steps`,
and the engine owns the loop. The learning rate falls to 0 by a cosine; weight decay is decoupled.

Source: I. Loshchilov, F. Hutter, arXiv 1711.05101 (AdamW), by optax.

Example. One number that tells the sign of its input:

>>> import jax, jax.numpy as jnp
>>> from closedform.solvers import classify
>>> def loss(weight, key):
...     x = jax.random.normal(key, (8,))
...     return classify.cross_entropy(jnp.stack([-weight * x, weight * x], axis=1), (x > 0).astype(int))
>>> training = classify.Training(learning_rate=0.1, num_steps=100)
>>> state = classify.start(jax.random.key(0), jnp.zeros(()))
>>> state = jax.lax.fori_loop(0, 100, lambda _, state: classify.step(state, loss, training), state)
>>> bool(state.params > 2)
True
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..contract import Count, NonNegative, Positive, check
from ..documented import documented
from . import descent


@dataclass(frozen=True)
class Training:
    """How a classifier is trained; a Config nests it whole."""

    learning_rate: Positive = 0.005  # of AdamW, falling to 0 by a cosine
    weight_decay: NonNegative = 0.01  # of AdamW, decoupled: times the learning rate
    batch_size: Count = 16  # examples a step, drawn with replacement
    num_steps: Count = 500  # updates

    def __post_init__(self):
        check(self)


@documented
class State(NamedTuple):
    """A classifier in training."""

    params: Any
    memory: optax.OptState  # of the optimiser
    updates: Int[Array, ""]  # done so far
    key: PRNGKeyArray  # batch i is drawn by fold_in(key, i)


def start(key: PRNGKeyArray, params: Any) -> State:
    """The state before the first update."""
    return State(*descent.begin(params), key)


def step(state: State, loss_fn: Callable[[Any, PRNGKeyArray], Float[Array, ""]], training: Training) -> State:
    """One update; loss_fn(params, key) is the mean loss of the batch that the key draws."""
    network, key = descent.State(*state[:3]), state.key

    def loss(params: Any, update: Array) -> Float[Array, ""]:
        return loss_fn(params, jax.random.fold_in(key, update))

    settings = training.learning_rate, training.num_steps, training.weight_decay
    return State(*descent.step(network, loss, *settings), key)


def cross_entropy(logits: Float[Array, "*example class"], labels: Int[Array, "*example"]) -> Float[Array, ""]:
    """Mean of -log softmax(logits)[label] over the examples."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
