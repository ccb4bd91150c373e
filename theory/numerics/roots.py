"""A square root with a slope at 0, and roots and fixed points found by Newton's method, with implicit derivatives."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def square_root(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """sqrt(x) for x >= 0, with slope 0 instead of infinity at 0.

    >>> import jax
    >>> float(square_root(jnp.array(4.0))), float(jax.grad(square_root)(0.0))
    (2.0, 0.0)
    """
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def descend_to_root(
    excess_fn: Callable[[Array], Array], newton_fn: Callable[[Array], Array], above: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The root of a rising convex function, from a point `above` it, with the derivatives of the implicit function.

    Newton's method on a convex function stays above the root and falls towards it from anywhere above, so it needs no
    bracket; it ends where rounding stops the fall. `newton_fn` gives the next point without cancellation.

    >>> round(float(descend_to_root(lambda x: x**2 - 2, lambda x: (x + 2 / x) / 2, jnp.array(5.0))), 5)
    1.41421
    """

    def solve(_, start: Array) -> Array:
        def falling(state: tuple) -> Array:
            point, after, steps = state
            # a double root is approached by halving: at most 2200 halvings lie between the largest and the smallest number
            return jnp.any(after < point * (1 - 4 * jnp.finfo(point.dtype).eps)) & (steps < 2200)

        def step(state: tuple) -> tuple:
            _, point, steps = state
            after = newton_fn(point)
            # at a root of slope 0 (ridge 0, as many samples as modes) the slope ends as rounding, 0 or negative
            return point, jnp.where((after >= 0) & (after < jnp.inf), after, point), steps + 1

        return jax.lax.while_loop(falling, step, (jnp.full_like(start, jnp.inf), start, 0))[1]

    def tangent_solve(linear_fn, value: Array) -> Array:
        slope = linear_fn(jnp.ones_like(value))
        return value / jnp.where(slope == 0, jnp.inf, slope)

    return jax.lax.custom_root(excess_fn, jax.lax.stop_gradient(above), solve, tangent_solve)


def climb_to_root(
    excess_fn: Callable[[Array], Array],
    slope_fn: Callable[[Array], Array],
    low: Float[Array, "*shape"],
    high: Float[Array, "*shape"],
    end: Float[Array, "*shape"],
) -> Float[Array, "*shape"]:
    """The root of a rising concave function, with the derivatives of the implicit function, or `end` where it lies beyond.

    It is 0 < low <= root <= high, and `slope_fn` the slope of the function. Newton's method on a concave function stays below
    the root from the first step on, and climbs towards it; it ends where rounding stops the rise. Twelve halvings come first:
    where the slope falls exponentially, Newton's steps are all of one length.

    >>> low, high, end = jnp.array(0.1), jnp.array(9.0), jnp.array(100.0)
    >>> round(float(climb_to_root(lambda x: jnp.log1p(x) - 1, lambda x: 1 / (1 + x), low, high, end)), 5)  # e - 1
    1.71828
    """
    eps, tiny = float(jnp.finfo(end.dtype).eps), float(jnp.finfo(end.dtype).tiny)
    low, high, end = jax.lax.stop_gradient((low, high, end))

    def solve(_, __) -> Array:
        def newton(point: Array) -> tuple[Array, Array]:
            # Newton's step on a concave function ends at most at the root, from either side
            value = excess_fn(point)
            return value, point - value / jnp.maximum(slope_fn(point), tiny)

        def rising(state: tuple) -> Array:
            before, now, _, steps = state
            return (steps <= 12) | jnp.any(now > before * (1 + 4 * eps)) & (steps < 100)

        def step(state: tuple) -> tuple:
            _, low, high, steps = state
            point = jnp.where(steps < 12, (low + high) / 2, low)
            value, below = newton(point)
            return low, jnp.clip(below, low, end), jnp.where(value > 0, point, high), steps + 1

        return jax.lax.while_loop(rising, step, (low, low, high, 0))[1]

    def tangent_solve(linear_fn, value: Array) -> Array:
        return value / jnp.maximum(linear_fn(jnp.ones_like(value)), tiny)

    root = jax.lax.custom_root(excess_fn, end, solve, tangent_solve)
    return jnp.where(root < end, root, end)


def descend_to_fixed_point(
    map_fn: Callable[[Array, Any], Array], above: Float[Array, "unknown"], problem: Any
) -> Float[Array, "unknown"]:
    """The largest x >= 0 with x = map_fn(x, problem), for a concave rising map and a point `above` that it does not raise.

    Newton's method falls towards it in every component; it ends where rounding stops the fall. Differentiable in `problem`.
    Linear systems are solved in units of x, whose components differ by many orders.

    >>> descend_to_fixed_point(lambda x, c: jnp.sqrt(c * x), jnp.array([9.0, 9.0]), jnp.array([1.0, 4.0])).round(4).tolist()
    [1.0, 4.0]
    """

    def newton(x: Array) -> Array:
        unit = jnp.where(x > 0, x, 1)
        slopes = jax.jacfwd(map_fn)(x, fixed) * unit[None] / unit[:, None]
        after = x - unit * jnp.linalg.solve(identity - slopes, (x - map_fn(x, fixed)) / unit)
        # where rounding spoils Newton's step, a step of the map itself, which falls too, but not below the root
        return jnp.where((after > 0) & (after < jnp.inf), after, map_fn(x, fixed))

    def falling(state: tuple) -> Array:
        point, after, steps = state
        return jnp.any(after < point * (1 - 16 * jnp.finfo(point.dtype).eps)) & (steps < 400)

    def step(state: tuple) -> tuple:
        return state[1], newton(state[1]), state[2] + 1

    def tangent_solve(linear_fn, value: Array) -> Array:
        return jnp.linalg.solve(jax.jacfwd(linear_fn)(value), value)

    start, fixed = jax.lax.stop_gradient((above, problem))
    identity = jnp.eye(len(start), dtype=start.dtype)
    root = jax.lax.while_loop(falling, step, (jnp.full_like(start, jnp.inf), start, 0))[1]
    # the root of the problem nearby is unit * ratio, where ratio solves an equation of known solution here
    unit = jnp.where(root > 0, root, 1)
    ratio = jax.lax.custom_root(lambda r: r - map_fn(unit * r, problem) / unit, root / unit, lambda _, r: r, tangent_solve)
    return unit * ratio
