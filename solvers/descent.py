"""Gradient descent on an objective: Adam with a cosine decay to zero, on all examples or on a minibatch a step.

Source: optax.

Example. A parabola, to its lowest point:

>>> from closedform.solvers import descent
>>> x, _ = descent.adam(lambda x: (x - 3.0) ** 2, 0.0, rate=0.1, num_steps=300)
>>> round(float(x), 2)
3.0
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ..theory.numerics.arguments import ArrayLike, at_least, require, takes

P = TypeVar("P")


@takes(num_steps=at_least(1), num_moments=at_least(1))
def adam(
    objective_fn: Callable[[P], Float[Array, ""]], params: P, rate: ArrayLike, num_steps: int, num_moments: int = 1
) -> tuple[P, Float[Array, "moment"]]:
    """The trained parameters, and the objective after num_steps/num_moments, 2 num_steps/num_moments, .. updates."""
    if num_steps % num_moments:
        raise ValueError(f"num_steps must be a multiple of num_moments = {num_moments}, got {num_steps}")
    params = _floats(params)
    optimiser, update = cosine_adam(lambda params, _: objective_fn(params), rate, num_steps)

    def stretch(carry: tuple[Any, optax.OptState], _: None) -> tuple[tuple[Any, optax.OptState], Array]:
        carry = jax.lax.fori_loop(0, num_steps // num_moments, update, carry)
        return carry, objective_fn(carry[0])

    start: Any = params
    (params, _), objective = jax.lax.scan(stretch, (start, optimiser.init(start)), length=num_moments)
    return params, objective


@takes(num_steps=at_least(1))
def minibatch_adam(
    objective_fn: Callable[[P, Array], Float[Array, ""]],
    params: P,
    rate: ArrayLike,
    num_steps: int,
    weight_decay: ArrayLike = 0.0,
) -> P:
    """The trained parameters; objective_fn(params, step) is that of the examples of one step.

    Weight decay is decoupled, as in AdamW: a step takes off rate, times the cosine, times weight_decay of them.
    """
    start: Any = _floats(params)
    optimiser, update = cosine_adam(objective_fn, rate, num_steps, weight_decay)
    return jax.lax.fori_loop(0, num_steps, update, (start, optimiser.init(start)))[0]


def _floats(params: P) -> P:
    """Whole numbers, which have no derivative, as floats."""
    return jax.tree.map(lambda p: p if jnp.issubdtype(jnp.result_type(p), jnp.inexact) else jnp.asarray(p, float), params)


def cosine_adam(
    objective_fn: Callable[[Any, Array], Float[Array, ""]],
    rate: ArrayLike,
    num_steps: int,
    weight_decay: ArrayLike | None = None,
) -> tuple[optax.GradientTransformation, Callable[[Array, tuple[Any, optax.OptState]], tuple[Any, optax.OptState]]]:
    """Adam whose rate falls to 0 by a cosine, and what update number `step` does to (parameters, its memory).

    `objective_fn(params, step)` is the objective of that update. With weight_decay it is AdamW.
    """
    require(at_least(0, finite=True), rate=rate, weight_decay=0 if weight_decay is None else weight_decay)
    decay = optax.identity() if weight_decay is None else optax.add_decayed_weights(weight_decay)  # type: ignore[arg-type]
    schedule = optax.cosine_decay_schedule(1.0, num_steps)
    optimiser = optax.chain(optax.scale_by_adam(), decay, optax.scale_by_learning_rate(schedule))

    def update(step: Array, carry: tuple[Any, optax.OptState]) -> tuple[Any, optax.OptState]:
        params, memory = carry
        gradient = jax.grad(objective_fn)(params, step)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
            change, memory = optimiser.update(gradient, memory, params)
        return jax.tree.map(lambda p, c: p + jnp.asarray(rate, p.dtype) * c, params, change), memory

    return optimiser, update
