"""Full-batch gradient descent on the objective itself: Adam with a cosine decay to zero.

Source: optax.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float

P = TypeVar("P")


def adam(
    objective_fn: Callable[[P], Float[Array, ""]], params: P, rate: ArrayLike, num_steps: int, num_moments: int = 1
) -> tuple[P, Float[Array, "moment"]]:
    """The trained parameters, and the objective after num_steps/num_moments, 2 num_steps/num_moments, .. updates."""
    optimiser = optax.adam(optax.cosine_decay_schedule(1.0, num_steps))

    def update(_: Array, carry: tuple[Any, optax.OptState]) -> tuple[Any, optax.OptState]:
        params, memory = carry
        gradient = jax.grad(objective_fn)(params)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
            change, memory = optimiser.update(gradient, memory)
        return jax.tree.map(lambda p, c: p + jnp.asarray(rate, p.dtype) * c, params, change), memory

    def stretch(carry: tuple[Any, optax.OptState], _: None) -> tuple[tuple[Any, optax.OptState], Array]:
        carry = jax.lax.fori_loop(0, num_steps // num_moments, update, carry)
        return carry, objective_fn(carry[0])

    start: Any = params
    (params, _), objective = jax.lax.scan(stretch, (start, optimiser.init(start)), length=num_moments)
    return params, objective
