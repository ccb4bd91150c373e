"""What the XOR experiments share: minibatch SGD on fresh Boolean data, and the mean-field start that belongs to a network.

Every step draws `batch_size` new points, so steps times batch size counts samples. The loss is 2 log(1 + exp(-y f)), whose
negative derivative at f = 0 is y, and the step is mean-field: w -= eta p dL/dw, a -= eta p dL/da.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, check
from ...models.fully_connected import two_layer
from ...tasks import xor
from ...theory.feature_learning import xor_finite_batch
from ...theory.feature_learning.xor_mean_field import Neurons

Layers = Literal["both", "weights", "readout"]  # the layers that train


@dataclass(frozen=True)
class Config:
    """Training of a two-layer network on XOR; each experiment sets its own sizes."""

    model: two_layer.Config = field(default_factory=lambda: two_layer.Config(dim=64, width=512, init_scale=0.1))
    batch_size: Count = 4096  # fresh samples per step (paper: m)
    learning_rate: Positive = 0.1  # mean-field step size (paper: eta); time = learning_rate * step
    num_steps: Count = 300  # updates

    def __post_init__(self):
        check(self)
        if self.model.dim < 3:
            raise ValueError(f"model.dim must be at least 3 (two coordinates of XOR and one other), got {self.model.dim}")


class State(NamedTuple):
    """A network in training, the key of its next batch, and the key of the points on which it is measured."""

    params: two_layer.Params
    key: PRNGKeyArray
    test_key: PRNGKeyArray


def init(key: PRNGKeyArray, config: Config) -> State:
    """A network at its random start."""
    key_model, key_data, key_test = jax.random.split(key, 3)
    return State(two_layer.init(key_model, config.model), key_data, key_test)


def step(state: State, config: Config, train: Layers = "both") -> State:
    """One update on a fresh batch, of both layers or of one."""
    key, key_batch = jax.random.split(state.key)
    x, y = xor.sample(key_batch, config.batch_size, config.model.dim)

    def residual(f: Float[Array, "batch"]) -> Float[Array, "batch"]:
        return -2 * y * jax.nn.sigmoid(-y * f) / y.size

    gradient = two_layer.gradients(state.params, x, residual)[1]
    eta = config.learning_rate * config.model.width
    w, a = state.params
    if train != "readout":
        w = w - eta * gradient.w
    if train != "weights":
        a = a - eta * gradient.a
    return state._replace(params=two_layer.Params(w, a), key=key)


def loss(margins: Float[Array, "..."], axis: int | None = None) -> Float[Array, "..."]:
    """Mean of 2 log(1 + exp(-margin)), over all margins or over one axis."""
    return 2 * jnp.mean(jax.nn.softplus(-margins), axis)


def error(margins: Float[Array, "..."]) -> Float[Array, ""]:
    """Share of margins below zero; half of those at zero count, so that a network with output 0 has error 1/2."""
    return jnp.mean(jnp.heaviside(-margins, 0.5))


def margins(state: State, num_test: int) -> Float[Array, "cluster num_test"]:
    """y f on `num_test` points of each of the four clusters (x_1, x_2); the same points throughout a run."""
    x = xor.sample_cluster(state.test_key, num_test, state.params.w.shape[0])
    outputs = jax.vmap(jax.vmap(two_layer.apply, (None, 0)), (None, 0))(state.params, x)
    return jnp.asarray(xor.CLUSTER_LABELS, outputs.dtype)[:, None] * outputs


def with_noise(model: two_layer.Config, learning_rate: float, batch_noise: float) -> Config:
    """The training whose batch size m makes kappa = learning_rate * dim / (2 m) equal to `batch_noise`, up to rounding."""
    return Config(model, max(1, round(learning_rate * model.dim / (2 * batch_noise))), learning_rate)


def noisy_mean_field(state: State, config: Config, steps: np.ndarray, **frozen: bool) -> xor_finite_batch.State:
    """The mean-field system with minibatch noise that starts from a network's weights, recorded at `steps`."""
    key = jax.random.fold_in(state.key, 0)  # a noise of its own: independent of the batches
    sizes = {"dim": config.model.dim, "batch_size": config.batch_size}
    return xor_finite_batch.euler(key, neurons(state.params), config.learning_rate, steps, **sizes, **frozen)


def neurons(params: two_layer.Params) -> Neurons:
    """The reduced neurons (w_12, ||w_perp||, a) from which the mean-field system starts."""
    w_12, perp_norm, a = two_layer.plane(params)
    return Neurons(w_12, perp_norm, a)
