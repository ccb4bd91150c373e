r"""Which start trains which depth on real digits: a network learns where two images are still apart at its last layer.

Three starts (Glorot's, He's, LSUV) train side by side, on the same batches of the same split, at three depths.
Theory says how far apart two images are at the last hidden layer before training, from their correlation $c_1$ in the first,
and how fast gradients grow or fall with depth:

$$
1 - c_L, \qquad c_{l+1} = \frac{\sigma_w^2\, \mathbb{E}\, \phi(u) \phi(v)}{q_{l+1}}, \qquad
\xi = \frac{1}{|\ln \chi_1|}
$$

A network much deeper than the depth scale $\xi$ of an ordered phase is told the same of every image and does not learn. How far
the accuracy gets is not predicted, only its value before training: chance. Found here: against $L/\xi$ the accuracies of all
starts and activations fall on one curve, from above 0.9 at a few depth scales to chance at 20.

Images are centred by the mean of their set and scaled to mean square 1.

Source: Schoenholz et al., arXiv 1611.01232, whose question it is (recalled); Mishkin and Matas, arXiv 1511.06422 (LSUV); runs
are ours
Cost: 70 s
"""

import math
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...contract import Count, Tolerance, check
from ...models.fully_connected import deep
from ...solvers import classify
from ...tasks import images
from ...theory.gaussian import signal_propagation
from . import _start

INITS = ("xavier", "he", "lsuv")


@dataclass(frozen=True)
class Config:
    data: str = "digits_8x8"  # or mnist_5k, or a folder with the four IDX files of MNIST or Fashion-MNIST
    num_samples: Count = 1400  # training images; the others, or the published ones, test
    activation: str = "tanh"  # phi
    width: Count = 64  # units of each hidden layer
    depth: Annotated[int, Ge(2)] = 10  # hidden layers (L)
    num_calibrated: Count = 256  # training images that LSUV looks at
    num_measured: Annotated[int, Ge(2)] = 12  # test images whose correlations and gradients are measured before training
    training: classify.Training = field(
        default_factory=lambda: classify.Training(learning_rate=0.002, batch_size=32, num_steps=200)
    )

    def __post_init__(self):
        check(self)
        images.check_name(self.data)
        deep.activation_fn(self.activation)

    @property
    def images(self) -> images.Images:
        return images.load(self.data)

    @property
    def network(self) -> deep.Config:
        found = self.images
        return deep.Config(found.pixels.shape[1], (self.width,) * self.depth, found.num_classes, self.activation)


class Result(NamedTuple):
    separation: Float[Array, "init"]  # 1 - correlation of two images at the last hidden layer before training, mean over pairs
    chi: Float[Array, "init"]  # growth of the second moment of the gradient per hidden layer before training
    untrained: Float[Array, "init"]  # share of test images classified right before training
    accuracy: Float[Array, "init"] | None = None  # after it
    train_accuracy: Float[Array, "init"] | None = None  # on training images


def labels(config: Config) -> dict[str, tuple]:
    return {"init": INITS}


class State(NamedTuple):
    start: Float[Array, "init parameter"]  # all numbers of a network in one row: quick to compile
    classifier: classify.State
    split: images.Split
    cotangent: Float[Array, "class"]  # of the gradients that are measured


def init(key: PRNGKeyArray, config: Config) -> State:
    key_split, key_network, key_train, key_cotangent = jax.random.split(key, 4)
    split = images.split(key_split, config.images, config.num_samples)
    batch, _ = _take(config, split.train[: config.num_calibrated])
    drawn = [_start.network(key_network, config.network, init, batch) for init in INITS]
    start = jnp.stack([jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)]) for params in drawn])
    cotangent = jax.random.normal(key_cotangent, (config.images.num_classes,))
    return State(start, classify.start(key_train, start), split, cotangent)


def step(state: State, config: Config) -> State:
    """An update of every network by the cross-entropy of the same images; Adam treats each weight alone."""

    def loss(params: Float[Array, "init parameter"], key: PRNGKeyArray) -> Float[Array, ""]:
        chosen = jax.random.choice(key, state.split.train, (config.training.batch_size,))
        x, labels = _take(config, chosen)
        return len(INITS) * classify.cross_entropy(
            _logits(params, x, config), jnp.broadcast_to(labels, (len(INITS), len(labels)))
        )

    return state._replace(classifier=classify.step(state.classifier, loss, config.training))


def num_steps(config: Config) -> int:
    return config.training.num_steps


def simulate(state: State, config: Config) -> Result:
    x, labels = _take(config, state.split.test)
    x_train, labels_train = _take(config, state.split.train)
    some = x[: config.num_measured]

    def measure(row: Float[Array, "parameter"]) -> tuple[Array, Array]:
        params = _params(row, config)
        h = _start.hidden(params, some, config.network)[-1]
        h = h / jnp.sqrt(jnp.sum(h**2, axis=1, keepdims=True))
        delta = _start.gradients(params, some, state.cotangent, config.network)
        sizes = jnp.log(jnp.mean(delta**2, axis=(1, 2)))
        first, second = _pairs(len(some))
        # |u - v|^2/2 of unit vectors: 1 - u.v without its cancellation
        return jnp.mean(jnp.sum((h[first] - h[second]) ** 2, axis=1)) / 2, jnp.exp((sizes[0] - sizes[-1]) / (config.depth - 1))

    separation, chi = jax.vmap(measure)(state.start)
    score = jax.vmap(images.accuracy, (0, None))
    end = state.classifier.params
    return Result(
        separation,
        chi,
        score(_logits(state.start, x, config), labels),
        score(_logits(end, x, config), labels),
        score(_logits(end, x_train, config), labels_train),
    )


def predict(state: State, config: Config) -> Result:
    """From the correlations of the images; before training all classes are alike, as the rows of the readout are."""
    phi = deep.activation_fn(config.activation)
    x, _ = _take(config, state.split.test[: config.num_measured])
    first, second = _pairs(len(x))
    correlation = 1 - jnp.mean((x[first] - x[second]) ** 2, axis=1) / 2
    fan_in = config.network.dim
    # of the first layer, from the pixels to the units
    at_first = {
        "he": 2.0,
        "xavier": 2 * fan_in / (fan_in + config.width),
        "lsuv": 1.0,
    }
    q = jnp.asarray([at_first[init] for init in INITS], x.dtype)
    sigma_w2 = jnp.stack([jnp.asarray(_start.weight_variance(init, phi), x.dtype) for init in INITS])
    layers = signal_propagation.propagate(config.depth, q[:, None], correlation[None], phi, sigma_w2[:, None])
    chi = jnp.exp(jnp.mean(jnp.log(layers.chi[:-1, :, 0]), axis=0))
    chance = jnp.full((len(INITS),), 1 / config.images.num_classes, x.dtype)
    return Result(1 - jnp.mean(layers.correlation[-1], axis=1), chi, chance)


def _take(config: Config, chosen: Int[Array, "image"]) -> tuple[Float[Array, "image pixel"], Int[Array, "image"]]:
    """Images, centred by the mean pixel of the set and scaled to mean square 1, and labels."""
    pixels, labels = images.take(config.images, chosen)
    found = config.images
    mean = float(np.sum(found.pixels, dtype=np.int64)) / (found.pixels.size * found.full)
    centred = pixels - mean
    return centred / jnp.sqrt(jnp.mean(centred**2, axis=1, keepdims=True)), labels


def _params(row: Float[Array, "parameter"], config: Config) -> deep.Params:
    """The network of a row of numbers."""
    shapes = [*config.network.shapes, *((out,) for out, _ in config.network.shapes)]
    parts = jnp.split(row, np.cumsum([math.prod(shape) for shape in shapes])[:-1])
    arrays = tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
    return deep.Params(arrays[: config.depth + 1], arrays[config.depth + 1 :])


def _logits(
    params: Float[Array, "init parameter"], x: Float[Array, "image pixel"], config: Config
) -> Float[Array, "init image class"]:
    def one(row: Float[Array, "parameter"]) -> Float[Array, "image class"]:
        params = _params(row, config)
        return jax.vmap(lambda image: deep.apply(params, image, config.network))(x)

    return jax.vmap(one)(params)


def _pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Both images of every pair."""
    return np.triu_indices(count, 1)


TOLERANCE = {
    "separation": Tolerance(0.05, 0.05, reason="off by O(depth/width), 0.3 at depth 20"),
    "chi": Tolerance(0.03, reason="means of logarithms are off by O(1/width) a layer"),
    "untrained": Tolerance(reason="exact on average over the weights that are drawn"),
}
QUICK = {
    "num_samples": 1700,
    "width": 8,
    "depth": 2,
    "num_calibrated": 16,
    "num_measured": 3,
    "training.batch_size": 8,
    "training.num_steps": 4,
}
SEEDS = 8
GRID = {"activation": ("relu", "tanh", "sigmoid"), "depth": (3, 10, 20)}
