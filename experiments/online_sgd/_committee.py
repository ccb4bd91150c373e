"""What committee, plateau and floor share: a teacher, a step of SGD on a fresh sample, and averages over a long run."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...models.fully_connected import committee

_EVERY = 16  # steps between two terms of an average


class State(NamedTuple):
    student: committee.Params
    key: PRNGKeyArray  # of the next samples


def require_room(dim: int, num_units: int) -> None:
    """Raises ValueError for too few inputs: a teacher is orthonormal, and the student's units have a part outside of it."""
    if dim <= num_units:
        raise ValueError(f"dim must be above the {num_units} units of the teacher, got {dim}")


def teacher(num_units: int, dim: int) -> committee.Params:
    """Orthonormal units; by isotropy along the first axes."""
    return committee.Params(jnp.eye(num_units, dim), jnp.ones(num_units))


def descend(state: State, target: committee.Params, learning_rate: Any, noise_std: Any) -> State:
    """A step of the first layer on a fresh sample, of rate eta/d."""
    key, key_x, key_noise = jax.random.split(state.key, 3)
    dim = state.student.w.shape[1]
    x = jax.random.normal(key_x, (dim,))
    y = committee.apply(target, x) + noise_std * jax.random.normal(key_noise)
    slope = jax.grad(lambda w: (y - committee.apply(committee.Params(w, state.student.v), x)) ** 2 / 2)(state.student.w)
    return State(state.student._replace(w=state.student.w - learning_rate / dim * slope), key)


def averages(
    state: State, target: committee.Params, learning_rate: Any, noise_std: Any, burn_in: Any, window: Any
) -> tuple[Float[Array, ""], committee.Overlaps]:
    """Means of the error and the overlaps over a window of the time eta steps/d that begins after `burn_in`."""
    dim = state.student.w.shape[1]
    count = lambda time: jnp.maximum(jnp.round(time * dim / learning_rate / _EVERY), 1).astype(int)  # noqa: E731

    def few(_: object, at: State) -> State:
        return jax.lax.fori_loop(0, _EVERY, lambda _, one: descend(one, target, learning_rate, noise_std), at)

    def measured(at: State) -> tuple[Float[Array, ""], committee.Overlaps]:
        return committee.error(at.student, target), committee.overlaps(at.student, target)

    def add(_: object, both: tuple) -> tuple:
        at, total = few(None, both[0]), both[1]
        return at, jax.tree.map(jnp.add, total, measured(at))

    state = jax.lax.fori_loop(0, count(burn_in), few, state)
    zero = jax.tree.map(jnp.zeros_like, measured(state))
    _, total = jax.lax.fori_loop(0, count(window), add, (state, zero))
    return jax.tree.map(lambda one: one / count(window).astype(one.dtype), total)
