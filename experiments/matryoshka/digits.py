r"""On real digits a nested linear autoencoder is at every prefix size as good as the principal components of the pixels.

The loss of a linear autoencoder depends on the images by their covariance alone, so that the prediction is exact for real data.
Beside it, without verdict, is what the paper trains: an encoder with ReLU units and a softmax classifier for each prefix size,
trained with nesting and for each size alone. Of its accuracy on test images no closed form is known.

$$
\frac{1}{n} \sum_x |x - V_m z_{:m}|^2 = \sum_{i > m} \lambda_i
$$

with the eigenvalues $\lambda_i$ of the covariance of the images.

Source: derived here (linear); Kusupati et al., arXiv 2205.13147, for the nested classifiers, which they train on other data
Cost: 25 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

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
    hidden: Count = 32  # ReLU units of the classifiers' encoder
    num_samples: Count = 1400  # training images of the classifiers; the others test
    sizes: _population.Sizes = (1, 2, 4, 8)  # trained prefix sizes (M)
    learning_rate: Positive = 0.25  # step size of the linear network on the nested loss, which has no factor 1/2
    training: classify.Training = field(
        default_factory=_training
    )  # of the classifiers; its number of steps is the linear network's too
    dtype: Precision = "float64"  # the loss is compared to 1e-6 and better

    def __post_init__(self):
        check(self)
        images.check_name(self.data)
        _population.check_sizes(self.sizes, self.model.width)
        if self.model.encoder.dim != self.model.num_outputs or self.model.encoder.widths or self.model.shared:
            raise ValueError(f"model must be an autoencoder of one layer with separate decoders, got {self.model}")


class Network(NamedTuple):
    """An encoder with ReLU units, and a linear classifier for each prefix size."""

    encoder: deep.Params
    heads: Float[Array, "size class coordinate"]
    biases: Float[Array, "size class"]


class State(NamedTuple):
    linear: nested.Params
    classifiers: classify.State  # a nested network, then one network for each of the sizes, on a leading axis
    split: images.Split


class Result(NamedTuple):
    error: Float[Array, "trained"]  # mean squared error of each trained size, linear network
    accuracy: Float[Array, "trained"] | None = None  # share of test images classified right by each size, nested network
    alone_accuracy: Float[Array, "trained"] | None = None  # of a network for each size alone


def labels(config: Config) -> dict[str, tuple]:
    return {"trained": config.sizes}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_linear, key_networks, key_train, key_split = jax.random.split(key, 4)
    data, width = images.load(config.data), config.model.width

    def network(key: PRNGKeyArray) -> Network:
        key_encoder, key_heads = jax.random.split(key)
        heads = jax.random.normal(key_heads, (width, data.num_classes, width)) / np.sqrt(width)
        return Network(deep.init(key_encoder, _encoder(config)), heads, jnp.zeros(heads.shape[:2]))

    networks = jax.vmap(network)(jax.random.split(key_networks, 1 + len(config.sizes)))
    split = images.split(key_split, data, config.num_samples)
    return State(nested.init(key_linear, config.model), classify.start(key_train, networks), split)


def step(state: State, config: Config) -> State:
    weights, moments = _weights(config), _moments(config)
    rate = jnp.asarray(config.learning_rate, state.linear.decoders.dtype)
    linear = nested.descend(state.linear, rate, weights[0], moments.covariance)

    def loss(networks: Network, key: PRNGKeyArray) -> Float[Array, ""]:
        """The sum over networks and sizes of weights times cross-entropies, of one batch."""
        index = jax.random.choice(key, state.split.train, (config.training.batch_size,))
        x, labels = _examples(index, config)
        logits = jax.vmap(lambda one: _logits(one, x, config))(networks)
        entropy = jax.vmap(jax.vmap(lambda of_size: classify.cross_entropy(of_size, labels)))(logits)
        return jnp.sum(weights * entropy)

    return state._replace(linear=linear, classifiers=classify.step(state.classifiers, loss, config.training))


def num_steps(config: Config) -> int:
    return config.training.num_steps


def simulate(state: State, config: Config) -> Result:
    error, place = nested.errors(state.linear, _moments(config).covariance)[0], np.array(config.sizes) - 1
    x, labels = _examples(state.split.test, config)
    logits = jax.vmap(lambda one: _logits(one, x, config))(state.classifiers.params)
    accuracy = jax.vmap(jax.vmap(lambda of_size: images.accuracy(of_size, labels)))(logits)[:, place]
    return Result(error[place], accuracy[0], jnp.diagonal(accuracy[1:]))


def predict(config: Config) -> Result:
    eigenvalues = jnp.linalg.eigvalsh(_moments(config).covariance)
    return Result(theory.prefix_errors(jnp.maximum(eigenvalues, 0), np.array(config.sizes)))


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


def _examples(index: Int[Array, "example"], config: Config) -> tuple[Float[Array, "example pixel"], Int[Array, "example"]]:
    """Images less the mean image, and their labels."""
    x, labels = images.take(images.load(config.data), index)
    return x - _moments(config).mean[None], labels


def _logits(network: Network, x: Float[Array, "example pixel"], config: Config) -> Float[Array, "size example class"]:
    """Of each prefix size."""
    z = jax.vmap(lambda one: deep.apply(network.encoder, one, _encoder(config)))(x)
    heads = network.heads * jnp.tri(z.shape[1], dtype=z.dtype)[:, None]
    return jnp.einsum("mci,ni->mnc", heads, z) + network.biases[:, None]


def _weights(config: Config) -> Float[Array, "network size"]:
    """Of the terms of each classifier; the first are the linear network's."""
    width = config.model.width
    rows = [config.sizes, *((size,) for size in config.sizes)]
    return jnp.asarray(np.stack([nested.weights_at(row, width) for row in rows]))


TOLERANCE = {
    "error": Tolerance(1e-5, reason="gradient descent has converged: what is left of modes whose variances are 8 % apart")
}
QUICK = {
    "hidden": 4,
    "num_samples": 1700,
    "model.encoder.num_outputs": 2,
    "sizes": (1, 2),
    "training.batch_size": 8,
    "training.num_steps": 3,
}
SEEDS = 8
