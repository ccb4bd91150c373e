"""What gradient descent does on the same objective: Adam with a cosine decay to zero, full batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...models.fully_connected import convex_relu, two_layer
from ...solvers import descent
from ...solvers.losses import network_objective


def start(key: PRNGKeyArray, dim: int, width: int, init_scale: float) -> two_layer.Params:
    """u_j ~ N(0, init_scale^2)^dim and alpha_j ~ N(0, init_scale^2), in the scale of two_layer."""
    key_w, key_a = jax.random.split(key)
    scale = init_scale * jnp.sqrt(width)
    return two_layer.Params(scale * jax.random.normal(key_w, (dim, width)), scale * jax.random.normal(key_a, (width,)))


def step(
    state: descent.State,
    x: Float[Array, "sample dim"],
    y: Float[Array, "sample"],
    weight_decay: Float[Array, ""] | float,
    learning_rate: float,
    num_steps: int,
) -> descent.State:
    """An update of `train`, where the engine owns the loop."""
    rate = _rate(learning_rate, state.params)
    return descent.step(state, lambda params, _: network_objective(params, x, y, weight_decay), rate, num_steps)


def train(
    params: two_layer.Params,
    x: Float[Array, "sample dim"],
    y: Float[Array, "sample"],
    weight_decay: Float[Array, ""] | float,
    learning_rate: float,
    num_steps: int,
    num_records: int = 1,
) -> tuple[two_layer.Params, Float[Array, "record"]]:
    """The trained network, and its objective after num_steps/num_records, 2 num_steps/num_records, .. updates."""
    rate = _rate(learning_rate, params)
    return descent.adam(lambda p: network_objective(p, x, y, weight_decay), params, rate, num_steps, num_records)


def _rate(learning_rate: float, params: two_layer.Params) -> Float[Array, ""]:
    """`learning_rate` is that of u and alpha; on the weights of two_layer, sqrt(width) larger, it is so much larger."""
    return learning_rate * jnp.sqrt(params.a.size)


def train_gated(
    key: PRNGKeyArray,
    gates: Float[Array, "dim pattern"],
    x: Float[Array, "sample dim"],
    y: Float[Array, "sample"],
    weight_decay: Float[Array, ""] | float,
    learning_rate: float,
    num_steps: int,
    *,
    init_scale: float,
) -> Float[Array, "record"]:
    """The same for f(x) = sum_i 1[x g_i >= 0] (x u_i) alpha_i: the objective at the end."""
    on = convex_relu.patterns(gates, x)

    def objective(params: two_layer.Params) -> Float[Array, ""]:
        u, alpha = params
        f = (on * (x @ u)) @ alpha
        return jnp.sum((f - y) ** 2) / 2 + weight_decay / 2 * (jnp.sum(u**2) + jnp.sum(alpha**2))

    key_w, key_a = jax.random.split(key)
    shape = gates.shape
    start = two_layer.Params(init_scale * jax.random.normal(key_w, shape), init_scale * jax.random.normal(key_a, shape[1:]))
    return descent.adam(objective, start, learning_rate, num_steps)[1]
