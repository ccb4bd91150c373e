"""Fixed points of maps of a few numbers, by damped steps and Newton's method, with the derivatives of the implicit function."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Unknown = Float[Array, "unknown"]

DAMPED = 6  # damped steps before the first step of Newton's method
STEPS = 80  # of either kind from one start, at most: 10 to 20 are usual
LONGEST = 3.0  # longest step of Newton's method in any of the unknowns, which are logarithms
SHORTEST = 1 / 64  # part of a step of Newton's method below which a damped step is taken


class _Search(NamedTuple):
    base: Unknown  # best point so far
    excess: Unknown  # map(base) - base
    newton: Unknown  # the step of Newton's method at base
    part: Array  # part of it that leads to the trial; 0: a damped step, which is taken whatever it gives
    trial: Unknown  # the next point to look at
    steps: Array


def fixed_point(map_fn: Callable[[Unknown], Unknown], *starts: Unknown) -> tuple[Unknown, Bool[Array, ""]]:
    """x = map_fn(x), and whether it was reached: to rounding, or as near as Newton's method comes.

    Damped steps (half of the way to the map's value) come first. A step of Newton's method that does not lower the excess is
    shortened, and at last replaced by a damped step. The search begins again at the next of the starts where one does not lead
    to the fixed point. Differentiable in all that `map_fn` closes over.
    """
    eps = float(jnp.finfo(starts[0].dtype).eps)
    others = jax.lax.stop_gradient(jnp.stack(starts))

    def excess_fn(x: Unknown) -> Unknown:
        return map_fn(x) - x

    def find(fn: Callable[[Unknown], Unknown], start: Unknown) -> tuple[Unknown, Array]:
        def looking(search: _Search) -> Array:
            return (search.steps < STEPS * len(starts)) & (_size(search.excess) > 8 * eps * (1 + _size(search.base)))

        def look(search: _Search) -> _Search:
            excess, columns = _linearised(fn, search.trial)
            newton = -_solve(columns, excess)
            # where the map does not depend on one of the unknowns there is no step of Newton's method
            newton = jnp.where(jnp.all(jnp.isfinite(newton)), newton, excess)
            newton = newton / jnp.maximum(1, _size(newton) / LONGEST)
            better = jnp.all(jnp.isfinite(excess)) & ((search.part == 0) | (jnp.sum(excess**2) < jnp.sum(search.excess**2)))
            base = jnp.where(better, search.trial, search.base)
            excess = jnp.where(better, excess, search.excess)
            newton = jnp.where(better, newton, search.newton)
            steps = search.steps + 1
            part = jnp.where(better, jnp.minimum(4 * search.part, 1), search.part / 4)
            part = jnp.where(better & (search.part == 0), 1, part)
            damped = (part < SHORTEST) | (steps % STEPS <= DAMPED)
            trial = base + jnp.where(damped, excess / 2, part * newton)
            again = (steps % STEPS == 0) & (_size(excess) > eps**0.5)
            trial = jnp.where(again, others[jnp.minimum(steps // STEPS, len(starts) - 1)], trial)
            part = jnp.where(damped | again, 0, part)
            return _Search(base, jnp.where(again, jnp.inf, excess), newton, part, trial, steps)

        endless, nought = jnp.full_like(start, jnp.inf), jnp.zeros_like(start)
        first = _Search(start, endless, nought, nought[0], start, jnp.array(0))
        found = jax.lax.while_loop(looking, look, first)
        return found.base, _size(found.excess)

    def tangent_solve(linear_fn: Callable[[Unknown], Unknown], value: Unknown) -> Unknown:
        units = jnp.eye(len(value), dtype=value.dtype)
        return _solve([linear_fn(unit) for unit in units], value)

    x, excess = jax.lax.custom_root(excess_fn, others[0], find, tangent_solve, has_aux=True)
    return x, excess < eps**0.5


def _size(x: Unknown) -> Array:
    return jnp.max(jnp.abs(x))


def _linearised(fn: Callable[[Unknown], Unknown], x: Unknown) -> tuple[Unknown, list[Unknown]]:
    """The value, and the columns of the Jacobian."""
    value, columns = jax.vmap(lambda unit: jax.jvp(fn, (x,), (unit,)), out_axes=(None, 0))(jnp.eye(len(x), dtype=x.dtype))
    return value, list(columns)


def _solve(columns: list[Unknown], value: Unknown) -> Unknown:
    """The linear combination of the columns that is `value`, by Gram and Schmidt: without a call of LAPACK."""
    basis: list[Unknown] = []
    rows: list[list[Array]] = []
    for column in columns:
        row = []
        for unit in basis:
            row.append(unit @ column)
            column = column - row[-1] * unit
        norm = jnp.sqrt(jnp.sum(column**2))
        basis.append(column / norm)
        rows.append([*row, norm])
    x: list[Array] = [jnp.zeros_like(value[0])] * len(columns)
    for i in range(len(columns) - 1, -1, -1):
        x[i] = (basis[i] @ value - sum(rows[j][i] * x[j] for j in range(i + 1, len(columns)))) / rows[i][i]
    return jnp.stack(x)
