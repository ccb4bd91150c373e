"""Linear equations without cancellation."""

import jax.numpy as jnp
from jaxtyping import Array


def solved_by_rows(coupling: Array, rest: Array, right: Array) -> Array:
    """The x of (1 - C) x = right, where all of C, right and of the sums of the rows of 1 - C, given as `rest`, are positive.

    >>> solved_by_rows(jnp.array([[0.0, 0.5], [0.25, 0.0]]), jnp.array([0.5, 0.75]), jnp.array([1.0, 1.5])).tolist()
    [2.0, 2.0]
    """
    apart = coupling * (1 - jnp.eye(len(rest), dtype=rest.dtype))
    return jnp.linalg.solve(jnp.diag(rest + jnp.sum(apart, axis=1)) - apart, right)
