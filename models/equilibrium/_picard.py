"""The fixed point that the networks of this family take where no solver is given, with its implicit gradient."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array


class Found(NamedTuple):
    state: Array  # NaN where the iteration does not come to rest


def picard(f: Callable[..., Array], start: Array, args: Any) -> Found:
    """z = f(z, args) by repeated application, to three quarters of the digits."""
    solver = optx.FixedPointIteration(rtol=0.0, atol=float(jnp.finfo(start.dtype).eps) ** 0.75, norm=_default_precision)

    def solve(_: Callable[..., Array], start: Array) -> Array:
        found = optx.fixed_point(f, solver, start, args, max_steps=1000, throw=False)
        return jnp.where(found.result == optx.RESULTS.successful, found.value, jnp.nan)

    # optimistix's own gradient raises an error where an input is not a number
    return Found(jax.lax.custom_root(lambda z: f(z, args) - z, start, solve, _dense_solve))


def _dense_solve(linear_fn: Callable[[Array], Array], right: Array) -> Array:
    """x of linear_fn(x) = right."""
    return jnp.linalg.solve(jax.jacfwd(linear_fn)(right), right)


def _default_precision(change: Array) -> Array:
    """The largest entry, in the precision in which optimistix keeps it."""
    return jnp.max(jnp.abs(change)).astype(jnp.result_type(float))
