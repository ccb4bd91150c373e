"""What the image studies share: training a bilinear classifier with noise on the pixels and weight decay, and its accuracy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import jax
import jax.numpy as jnp
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, check
from ...models.bilinear import bilinear, bilinear_classifier
from ...models.bilinear.bilinear_classifier import Params
from ...solvers import classify
from ...tasks import images
from ...tasks.images import Split

NumKept = Annotated[tuple[Count, ...], MinLen(1), Distinct]


def training(**changes: float) -> classify.Training:
    """The training of these experiments, with some values changed."""
    return classify.Training(**{"learning_rate": 1e-3, "weight_decay": 1.0, "batch_size": 256, "num_steps": 1500, **changes})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Config:
    data: str = "mnist_5k"  # or digits_8x8, or a folder with the four IDX files of MNIST or Fashion-MNIST
    num_samples: Count = 4000  # training images; the others, or the published ones, test
    width: Count = 64  # hidden units, paper h
    embedding_dim: Annotated[int, Ge(0)] = 0  # dimension of the embedding; 0: the layer reads pixels
    residual: bool = False  # add the embedded image to the hidden layer
    noise_std: NonNegative = 0.4  # standard deviation of the Gaussian noise on every pixel, drawn anew each step
    training: classify.Training = field(default_factory=training)

    def __post_init__(self):
        check(self)
        images.check_name(self.data)
        bilinear_classifier.Config(1, self.width, 1, self.embedding_dim, self.residual)  # what is wrong with these it says

    @property
    def images(self) -> images.Images:
        return images.load(self.data)

    @property
    def model(self) -> bilinear_classifier.Config:
        data = self.images
        return bilinear_classifier.Config(data.pixels.shape[1], self.width, data.num_classes, self.embedding_dim, self.residual)


def split(key: PRNGKeyArray, config: Config) -> Split:
    """Training and test images."""
    return images.split(key, config.images, config.num_samples)


def loss_on(split: Split, config: Config) -> Callable[[Params, PRNGKeyArray], Float[Array, ""]]:
    """The cross-entropy of the training images that a key draws, with noise on their pixels."""

    def loss(params: Params, key: PRNGKeyArray) -> Float[Array, ""]:
        key_batch, key_noise = jax.random.split(key)
        x, labels = images.take(config.images, jax.random.choice(key_batch, split.train, (config.training.batch_size,)))
        x = x + config.noise_std * jax.random.normal(key_noise, x.shape)
        return classify.cross_entropy(logits(params, x, config), labels)

    return loss


def num_steps(config: Config) -> int:
    return config.training.num_steps


def logits(params: Params, x: Float[Array, "image pixel"], config: Config) -> Float[Array, "image class"]:
    return jax.vmap(lambda one: bilinear_classifier.apply(params, one, config.residual))(x)


def accuracy_kept(
    params: Params,
    eigen: bilinear.Eigen,
    x: Float[Array, "image pixel"],
    labels: Int[Array, "image"],
    num_kept: tuple[int, ...],
) -> Float[Array, "kept"]:
    """Accuracy with only the largest eigenvectors of every class in modulus, num_kept of them, and no residual connection."""
    strengths = jnp.einsum("nd,cdr->ncr", bilinear_classifier.embed(params, x), eigen.vectors) ** 2 * eigen.values[None]
    rising = jnp.cumsum(strengths, axis=2)
    most = strengths.shape[2]
    return jnp.stack([images.accuracy(rising[:, :, min(kept, most) - 1], labels) for kept in num_kept])


def participation(values: Float[Array, "class mode"]) -> Float[Array, ""]:
    """(sum |lambda|)^2 / sum lambda^2, mean over the classes: how many eigenvalues count."""
    size = jnp.abs(values)
    return jnp.mean(jnp.sum(size, axis=1) ** 2 / jnp.sum(size**2, axis=1))


def top_images(params: Params, eigen: bilinear.Eigen, by: str, num_vectors: int) -> Float[Array, "class vector pixel"]:
    """Eigenvectors of every class as images, brighter where the sum of pixels is positive."""
    vectors = bilinear.truncate(eigen, num_vectors, by).vectors
    pixels = jnp.moveaxis(jax.vmap(lambda v: bilinear_classifier.to_pixels(params, v))(vectors), 1, 2)
    return pixels * jnp.where(jnp.sum(pixels, axis=2, keepdims=True) < 0, -1, 1)
