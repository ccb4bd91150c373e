"""What the experiments share: the two flows of attention with Q = K = V = I, on one clock."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...models.transformers import sphere_attention

FLOWS = {"SA": True, "USA": False}  # softmax or not; USA's time here is times e^beta: weights e^(beta (<x, y> - 1))


def path(
    x: Float[Array, "token dim"], time: float | Array, num_steps: int, beta: float | Array, softmax: bool, every: int = 1
) -> Float[Array, "record token dim"]:
    """The tokens from 0 to `time` at every `every`-th of num_steps even steps, start and end included."""
    params = sphere_attention.identity(x.shape[1])
    step_size = jnp.asarray(time, x.dtype) / num_steps

    def step(_: int, x: Array) -> Array:
        return sphere_attention.flow_step(params, x, step_size, beta, softmax, shift=beta)

    def record(x: Array, _: None) -> tuple[Array, Array]:
        after = jax.lax.fori_loop(0, every, step, x)
        return after, after

    return jnp.concatenate([x[None], jax.lax.scan(record, x, None, length=num_steps // every)[1]])


def unit(beta: float, softmax: bool) -> Array:
    """The time of `path` over the time of the theory."""
    return jnp.exp(jnp.asarray(0.0 if softmax else beta, float))


def shares(num_records: int) -> tuple[float, ...]:
    """Times of evenly spaced records, as fractions of the last time."""
    return tuple(record / num_records for record in range(1, num_records + 1))
