r"""On real digits a nested linear autoencoder is at every prefix size as good as the principal components of the pixels.

The loss of a linear autoencoder depends on the images by their covariance alone, so that the prediction is exact for real data.
Beside it, without verdict, is an encoder with a hidden layer of ReLU units and linear decoders, trained on minibatches with
nesting and for each size alone. The theory does not reach it; the difference of the two is its price of nesting.

$$
\frac{1}{n} \sum_x |x - V_m z_{:m}|^2 = \sum_{i > m} \lambda_i
$$

with the eigenvalues $\lambda_i$ of the covariance of the images.

Source: derived here (linear); the question for nonlinear encoders is that of Kusupati et al., arXiv 2205.13147, who train
classifiers on other data
Cost: 40 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Precision, Tolerance, check
from ...models.fully_connected import deep
from ...models.linear import nested
from ...solvers import classify
from ...tasks import images
from ...theory.linear_networks import nested as theory
from . import _population


def _model() -> nested.Config:
    return _population.model(8, dim=64, scale=0.01)


def _training() -> classify.Training:
    return classify.Training(learning_rate=5e-3, weight_decay=0.0, batch_size=64, num_steps=3000)


@dataclass(frozen=True)
class Config:
    data: str = "digits_8x8"  # or mnist_5k, with the dimensions of the models changed
    model: nested.Config = field(default_factory=_model)  # the linear network
    hidden: Count = 32  # ReLU units of the nonlinear encoder
    sizes: _population.Sizes = (1, 2, 4, 8)  # trained prefix sizes (M)
    learning_rate: Positive = 0.1  # step size of the linear network on the nested loss, which has no factor 1/2
    training: classify.Training = field(default_factory=_training)  # of the nonlinear networks; the number of steps is for all
    dtype: Precision = "float64"  # the loss is compared to 1e-6 and better

    def __post_init__(self):
        check(self)
        images.check_name(self.data)
        _population.check_sizes(self.sizes, self.model.width)
        if self.model.encoder.dim != self.model.num_outputs or self.model.encoder.widths or self.model.shared:
            raise ValueError(f"model must be an autoencoder of one layer with separate decoders, got {self.model}")


class Network(NamedTuple):
    """An encoder with ReLU units, and a decoder for each prefix size."""

    encoder: deep.Params
    decoders: Float[Array, "size output coordinate"]


class State(NamedTuple):
    linear: nested.Params
    relu: classify.State  # a nested network, then one network for each of the sizes, on a leading axis


class Result(NamedTuple):
    error: Float[Array, "trained"]  # mean squared error of each trained size, linear network
    relu_error: Float[Array, "trained"] | None = None  # of the nested nonlinear network
    alone_error: Float[Array, "trained"] | None = None  # of a nonlinear network for each size alone


def labels(config: Config) -> dict[str, tuple]:
    return {"trained": config.sizes}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_linear, key_relu, key_train = jax.random.split(key, 3)

    def network(key: PRNGKeyArray) -> Network:
        key_encoder, key_decoders = jax.random.split(key)
        width = config.model.width
        decoders = jax.random.normal(key_decoders, (width, config.model.num_outputs, width)) / np.sqrt(width)
        return Network(deep.init(key_encoder, _encoder(config)), decoders)

    relu = jax.vmap(network)(jax.random.split(key_relu, 1 + len(config.sizes)))
    return State(nested.init(key_linear, config.model), classify.start(key_train, relu))


def step(state: State, config: Config) -> State:
    weights, moments = _weights(config), _moments(config)
    rate = jnp.asarray(config.learning_rate, state.linear.decoders.dtype)
    linear = nested.descend(state.linear, rate, weights[0], moments.covariance)
    data = images.load(config.data)

    def loss(relu: Network, key: PRNGKeyArray) -> Float[Array, ""]:
        index = jax.random.randint(key, (config.training.batch_size,), 0, len(data.pixels))
        x = images.take(data, index)[0] - moments.mean[None]
        return jnp.sum(weights * jax.vmap(lambda one: _errors(one, x, config))(relu))

    return State(linear, classify.step(state.relu, loss, config.training))


def num_steps(config: Config) -> int:
    return config.training.num_steps


def simulate(state: State, config: Config) -> Result:
    data, moments, place = images.load(config.data), _moments(config), np.array(config.sizes) - 1
    x = images.take(data, jnp.arange(len(data.pixels)))[0] - moments.mean[None]
    relu = jax.lax.map(lambda one: _errors(one, x, config), state.relu.params)[:, place]
    return Result(nested.errors(state.linear, moments.covariance)[0, place], relu[0], jnp.diagonal(relu[1:]))


def predict(config: Config) -> Result:
    eigenvalues = jnp.linalg.eigvalsh(_moments(config).covariance)
    return Result(theory.prefix_errors(jnp.maximum(eigenvalues, 0), config.sizes))


class _Moments(NamedTuple):
    mean: Float[Array, "pixel"]
    covariance: Float[Array, "pixel pixel"]


def _moments(config: Config) -> _Moments:
    """Of all images, pixels from 0 to 1, from whole numbers: no bit of these constants depends on the processor."""
    data = images.load(config.data)
    pixels, number, full = data.pixels.astype(np.int64), len(data.pixels), data.full
    if pixels.shape[1] != config.model.encoder.dim:
        raise ValueError(f"model.encoder.dim must be the {pixels.shape[1]} pixels of {config.data}")
    total = pixels.sum(axis=0)
    covariance = (number * (pixels.T @ pixels) - np.outer(total, total)) / (number * full) ** 2
    return _Moments(jnp.asarray(total / (number * full), float), jnp.asarray(covariance, float))


def _encoder(config: Config) -> deep.Config:
    # variance 2 over the inputs keeps the scale of ReLU units
    dim, width = config.model.encoder.dim, config.model.width
    return deep.Config(dim, (config.hidden,), width, activation="relu", weight_variance=2.0)


def _errors(network: Network, x: Float[Array, "image pixel"], config: Config) -> Float[Array, "size"]:
    """Mean squared error of each prefix size on these images, from E x z^T and E z z^T."""
    z = jax.vmap(lambda one: deep.apply(network.encoder, one, _encoder(config)))(x)
    decoders = network.decoders * jnp.tri(z.shape[1], dtype=z.dtype)[:, None]
    known, gram = x.T @ z / len(x), z.T @ z / len(x)
    return jnp.sum((decoders @ gram - 2 * known[None]) * decoders, axis=(1, 2)) + jnp.sum(x**2) / len(x)


def _weights(config: Config) -> Float[Array, "network size"]:
    """Of the terms of each nonlinear network."""
    width = config.model.width
    rows = [config.sizes, *((size,) for size in config.sizes)]
    return jnp.asarray(np.stack([nested.weights_at(row, width) for row in rows]))


_END = "gradient descent has not quite converged: eigenvalues are as near as 0.06 to one another"
TOLERANCE = {"error": Tolerance(1e-4, reason=_END)}
QUICK = {"hidden": 4, "model.encoder.num_outputs": 2, "sizes": (1, 2), "training.batch_size": 8, "training.num_steps": 3}
SEEDS = 8
