"""The states of an iteration at the steps that are asked for."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from .arguments import at_least, takes

T = TypeVar("T")  # a state: any tree of arrays


@takes(steps=at_least(0))
def recorded(update_fn: Callable[[Int[Array, ""], T], T], start: T, steps: Int[np.ndarray, "step"]) -> T:
    """The states after `steps` updates from `start`, on a leading axis; update k is update_fn(k, state), from k = 1.

    >>> recorded(lambda step, total: total + step, jnp.array(0), [3, 0]).tolist()
    [6, 0]
    """
    start = jax.tree.map(jnp.asarray, start)
    if not len(steps):
        return jax.tree.map(lambda x: jnp.zeros((0, *x.shape), x.dtype), start)
    wanted, row = np.unique(steps, return_inverse=True)
    updates = np.arange(1, wanted[-1] + 1)
    # Every state is written: the unwanted ones onto a last row that is dropped.
    rows = np.where(np.isin(updates, wanted), np.searchsorted(wanted, updates), len(wanted))

    def update(carry: tuple[T, T], now: Int[Array, "2"]) -> tuple[tuple[T, T], None]:
        state, record = carry
        state = update_fn(now[0], state)
        record = jax.tree.map(lambda kept, x: jax.lax.dynamic_update_index_in_dim(kept, x, now[1], 0), record, state)
        return (state, record), None

    # Every row begins as the initial state, which is right for step 0.
    record = jax.tree.map(lambda x: jnp.repeat(x[None], len(wanted) + 1, axis=0), start)
    (_, record), _ = jax.lax.scan(update, (start, record), jnp.asarray(np.stack([updates, rows], axis=1), jnp.int32))
    return jax.tree.map(lambda kept: kept[row], record)
