"""What escape and leap share: many units trained side by side, each on samples of its own, until half of them have arrived."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ...models.fully_connected import spherical_unit

ALL = spherical_unit.Params(0, None)  # type: ignore[arg-type]  # the axis of the units; they have one link

# from a key, a fresh sample for each unit
SampleFn = Callable[[PRNGKeyArray], tuple[Float[Array, "walker dim"], Float[Array, "walker"]]]


class _State(NamedTuple):
    params: spherical_unit.Params
    key: PRNGKeyArray
    arrived: Float[Array, "walker"]  # the step, infinite before
    step: Float[Array, ""]


def started(
    key: PRNGKeyArray, model: spherical_unit.Config, num_walkers: int, overlaps: Float[Array, "coordinate"]
) -> spherical_unit.Params:
    """Units with these first coordinates, each with a rest of its own."""
    keys = jax.random.split(key, num_walkers)
    return jax.vmap(lambda one: spherical_unit.with_overlaps(one, model, overlaps), out_axes=ALL)(keys)


def trained(
    params: spherical_unit.Params, x: Array, y: Array, learning_rate: Float[Array, ""] | float
) -> spherical_unit.Params:
    """One step of every unit."""
    return jax.vmap(spherical_unit.step, (ALL, 0, 0, None), out_axes=ALL)(params, x, y, learning_rate)


def median_steps(
    params: spherical_unit.Params,
    key: PRNGKeyArray,
    sample_fn: SampleFn,
    learning_rate: Float[Array, ""] | float,
    arrived_fn: Callable[[Float[Array, "walker dim"]], Bool[Array, "walker"]],
    max_steps: Float[Array, ""] | int,
) -> Float[Array, ""]:
    """The median over units of the first step at which they have arrived, a unit that never does counting as infinite.

    Training ends when more than half have arrived, whose later ones do not move the median; infinite after `max_steps`.
    """
    count = params.w.shape[0]

    def advance(at: _State) -> _State:
        key, key_sample = jax.random.split(at.key)
        moved = trained(at.params, *sample_fn(key_sample), learning_rate)
        step = at.step + 1
        here = jnp.where(arrived_fn(moved.w), step, jnp.inf)
        return _State(moved, key, jnp.minimum(at.arrived, here), step)

    def goes_on(at: _State) -> Bool[Array, ""]:
        return (jnp.sum(jnp.isfinite(at.arrived)) <= count // 2) & (at.step < max_steps)

    start = jnp.where(arrived_fn(params.w), 0.0, jnp.inf)
    end = jax.lax.while_loop(goes_on, advance, _State(params, key, start, jnp.zeros(())))
    ordered = jnp.sort(end.arrived)
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
