"""Two equations for two positive unknowns: by halving, one within the other, then Newton's method; implicit derivatives.

All functions work entry by entry on arrays of one shape. Compiling is what costs: each equation stands in a program once for
the halving and once for Newton's method.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Floats: TypeAlias = Float[Array, "*shape"]
Pair: TypeAlias = tuple[Floats, Floats]
_HALVINGS = 44  # a range of 120 in the logarithm falls to 7e-12, from where one step of Newton's method reaches rounding
_STEPS = 4  # the last one is taken only to be compared


def halve(excess_fn: Callable[[Floats], tuple[Floats, Any]], low: Floats, high: Floats) -> tuple[Floats, Any]:
    """Where a function that is negative on the left turns positive, or an end where it never does, and what it returns beside.

    No derivative.
    """

    def step(_, carry: tuple[Floats, Floats, Any]) -> tuple[Floats, Floats, Any]:
        left, right, _ = carry
        middle = (left + right) / 2
        excess, beside = excess_fn(middle)
        return jnp.where(excess < 0, middle, left), jnp.where(excess < 0, right, middle), (middle, beside)

    low, high = jax.lax.stop_gradient((low, high))
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(excess_fn, low))[1]
    found = jax.lax.fori_loop(0, _HALVINGS, step, (low, high, (low, empty)))[2]
    return jax.lax.stop_gradient(found)


def root(residual_fn: Callable[[Pair], Pair], start: Pair) -> Pair:
    """The zero of both residuals near `start`, with the derivatives of the implicit functions."""

    def solve(fn: Callable[[Pair], Pair], point: Pair) -> Pair:
        def step(_, carry: tuple) -> tuple:
            best, size, tried = carry
            value, slope_fn = jax.linearize(fn, tried)
            now = jnp.maximum(jnp.abs(value[0]), jnp.abs(value[1]))
            nearer = now < size  # not for NaN: a step must not spoil what halving has found
            move = _solved(slope_fn, value)
            best = tuple(jnp.where(nearer, new, old) for new, old in zip(tried, best, strict=True))
            after = tuple(jnp.where(nearer, new - by, new) for new, by in zip(best, move, strict=True))
            return best, jnp.where(nearer, now, size), after

        return jax.lax.fori_loop(0, _STEPS, step, (point, jnp.full_like(point[0], jnp.inf), point))[0]

    return jax.lax.custom_root(residual_fn, jax.lax.stop_gradient(start), solve, _solved)


def _solved(slope_fn: Callable[[Pair], Pair], value: Pair) -> Pair:
    """The 2 x 2 system of a linear function, by Cramer's rule."""
    one, none = jnp.ones_like(value[0]), jnp.zeros_like(value[0])
    (a, c), (b, d) = slope_fn((one, none)), slope_fn((none, one))
    determinant = a * d - b * c
    return (d * value[0] - b * value[1]) / determinant, (a * value[1] - c * value[0]) / determinant
