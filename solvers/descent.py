"""Gradient descent on an objective: Adam with a cosine decay to zero, on all examples or on a minibatch a step.

Source: optax.

Example. A parabola, to its lowest point:

>>> from closedform.solvers import descent
>>> x, _ = descent.adam(lambda x: (x - 3.0) ** 2, 0.0, learning_rate=0.1, num_steps=300)
>>> round(float(x), 2)
3.0
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ..documented import documented
from ..theory.numerics.arguments import ArrayLike, at_least, require, takes

P = TypeVar("P")


@documented
class State(NamedTuple):
    """Parameters in training; the loop is the engine's, or one of the functions below."""

    params: Any
    memory: optax.OptState  # of the optimiser
    updates: Int[Array, ""]  # done so far


def begin(params: Any) -> State:
    """The state before the first update."""
    memory = _optimiser(1, None).init(params)  # its start depends on neither schedule nor decay
    return State(params, memory, jnp.zeros((), int))


def step(
    state: State,
    objective_fn: Callable[[Any, Array], Float[Array, ""]],
    learning_rate: ArrayLike,
    num_steps: int,
    weight_decay: ArrayLike | None = None,
) -> State:
    """One of num_steps updates by Adam, whose learning rate falls to 0 by a cosine; with weight_decay by AdamW.

    `objective_fn(params, update)` is the objective of update number `update`.
    """
    require(at_least(0, finite=True), learning_rate=learning_rate, weight_decay=0 if weight_decay is None else weight_decay)
    params, memory, updates = state
    gradient = jax.grad(objective_fn)(params, updates)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
        change, memory = _optimiser(num_steps, weight_decay).update(gradient, memory, params)
    params = jax.tree.map(lambda p, c: p + jnp.asarray(learning_rate, p.dtype) * c, params, change)
    return State(params, memory, updates + 1)


def _optimiser(num_steps: int, weight_decay: ArrayLike | None) -> optax.GradientTransformation:
    decay = optax.identity() if weight_decay is None else optax.add_decayed_weights(weight_decay)  # type: ignore[arg-type]
    schedule = optax.cosine_decay_schedule(1.0, num_steps)
    return optax.chain(optax.scale_by_adam(), decay, optax.scale_by_learning_rate(schedule))


@takes(num_steps=at_least(1), num_records=at_least(1))
def adam(
    objective_fn: Callable[[P], Float[Array, ""]], params: P, learning_rate: ArrayLike, num_steps: int, num_records: int = 1
) -> tuple[P, Float[Array, "record"]]:
    """The trained parameters, and the objective after num_steps/num_records, 2 num_steps/num_records, .. updates."""
    if num_steps % num_records:
        raise ValueError(f"num_steps must be a multiple of num_records = {num_records}, got {num_steps}")

    def update(_: Array, state: State) -> State:
        return step(state, lambda params, _: objective_fn(params), learning_rate, num_steps)

    def stretch(state: State, _: None) -> tuple[State, Array]:
        state = jax.lax.fori_loop(0, num_steps // num_records, update, state)
        return state, objective_fn(state.params)

    state, objective = jax.lax.scan(stretch, begin(_floats(params)), length=num_records)
    return state.params, objective


@takes(num_steps=at_least(1))
def minibatch_adam(
    objective_fn: Callable[[P, Array], Float[Array, ""]],
    params: P,
    learning_rate: ArrayLike,
    num_steps: int,
    weight_decay: ArrayLike = 0.0,
) -> P:
    """The trained parameters; objective_fn(params, step) is the objective on the examples of one step.

    Weight decay is decoupled, as in AdamW: a step takes off learning_rate times the cosine times weight_decay of them.
    """

    def update(_: Array, state: State) -> State:
        return step(state, objective_fn, learning_rate, num_steps, weight_decay)

    return jax.lax.fori_loop(0, num_steps, update, begin(_floats(params))).params


def _floats(params: P) -> P:
    """The parameters, with whole numbers, which have no derivative, as floats."""
    return jax.tree.map(lambda p: p if jnp.issubdtype(jnp.result_type(p), jnp.inexact) else jnp.asarray(p, float), params)
