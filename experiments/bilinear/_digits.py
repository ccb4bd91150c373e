"""What the image studies share: training a bilinear classifier with noise on the pixels and weight decay, and its accuracy."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...models import bilinear, bilinear_classifier
from ...models.bilinear_classifier import Params
from ...tasks import images


@dataclass(frozen=True)
class Config:
    data: str = "mnist_5k"  # or digits_8x8, or a folder with the four IDX files of MNIST or Fashion-MNIST
    num_train: int = 4000  # training images; the others, or the published ones, test
    width: int = 64  # hidden units, paper h
    hidden: int = 0  # dimension of the embedding; 0: the layer reads pixels
    residual: bool = False  # add the embedded image to the hidden layer
    noise: float = 0.4  # standard deviation of the Gaussian noise on every pixel, drawn anew each step
    weight_decay: float = 1.0  # of AdamW, decoupled: times the learning rate
    learning_rate: float = 1e-3  # of AdamW, falling to 0 by a cosine
    batch_size: int = 256  # images a step, drawn with replacement
    num_steps: int = 1500  # updates

    def __post_init__(self):
        images.num_train(self.images, self.num_train)
        for name in ("noise", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("batch_size", "num_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        _ = self.model

    @property
    def images(self) -> images.Images:
        return images.load(self.data)

    @property
    def model(self) -> bilinear_classifier.Config:
        return self.of_width(self.width)

    def of_width(self, width: int) -> bilinear_classifier.Config:
        data = self.images
        return bilinear_classifier.Config(data.pixels.shape[1], width, data.num_classes, self.hidden, self.residual)


class Split(NamedTuple):
    """Places of the images."""

    train: Int[Array, "train"]
    test: Int[Array, "test"]


def split(key: PRNGKeyArray, config: Config) -> Split:
    """A random split, or random training images of the published part and all published test images."""
    order, data = images.order(key, config.images), config.images
    return Split(order[: config.num_train], order[data.num_published or config.num_train :])


def train(key: PRNGKeyArray, params: Params, split: Split, config: Config) -> Params:
    """AdamW on the cross-entropy."""
    optimiser = optax.scale_by_adam()
    schedule = optax.cosine_decay_schedule(1.0, config.num_steps)

    def loss(params: Params, x: Array, labels: Array) -> Array:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits(params, x, config), labels))

    def update(step: Array, carry: tuple) -> tuple:
        params, memory = carry
        key_batch, key_noise = jax.random.split(jax.random.fold_in(key, step))
        x, labels = images.take(config.images, jax.random.choice(key_batch, split.train, (config.batch_size,)))
        x = x + config.noise * jax.random.normal(key_noise, x.shape)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
            change, memory = optimiser.update(jax.grad(loss)(params, x, labels), memory)
            rate = config.learning_rate * schedule(step)
        return jax.tree.map(lambda p, c: p - jnp.asarray(rate, p.dtype) * (c + config.weight_decay * p), params, change), memory

    return jax.lax.fori_loop(0, config.num_steps, update, (params, optimiser.init(params)))[0]


def logits(params: Params, x: Float[Array, "image pixel"], config: Config) -> Float[Array, "image class"]:
    return jax.vmap(lambda one: bilinear_classifier.apply(params, one, config.residual))(x)


def accuracy(outputs: Float[Array, "image class"], labels: Int[Array, "image"]) -> Float[Array, ""]:
    """Share of images whose largest output is that of their label."""
    return jnp.mean((jnp.argmax(outputs, axis=1) == labels).astype(outputs.dtype))


def accuracy_kept(
    params: Params, x: Float[Array, "image pixel"], labels: Int[Array, "image"], num_kept: tuple[int, ...]
) -> Float[Array, "kept"]:
    """Accuracy with so many eigenvectors of every class, the largest in modulus, and no residual connection."""
    eigen = bilinear_classifier.eigenfeatures(params)
    strengths = jnp.einsum("nd,cdr->ncr", bilinear_classifier.embed(params, x), eigen.vectors) ** 2 * eigen.values[None]
    rising = jnp.cumsum(strengths, axis=2)
    most = strengths.shape[2]
    return jnp.stack([accuracy(rising[:, :, min(kept, most) - 1], labels) for kept in num_kept])


def participation(values: Float[Array, "class mode"]) -> Float[Array, ""]:
    """(sum |lambda|)^2 / sum lambda^2, mean over the classes: how many eigenvalues count."""
    size = jnp.abs(values)
    return jnp.mean(jnp.sum(size, axis=1) ** 2 / jnp.sum(size**2, axis=1))


def top_images(params: Params, by: str, num_vectors: int) -> Float[Array, "class vector pixel"]:
    """Eigenvectors of every class as images, brighter where the sum of pixels is positive."""
    vectors = bilinear.truncate(bilinear_classifier.eigenfeatures(params), num_vectors, by).vectors
    pixels = jnp.moveaxis(jax.vmap(lambda v: bilinear_classifier.to_pixels(params, v))(vectors), 1, 2)
    return pixels * jnp.where(jnp.sum(pixels, axis=2, keepdims=True) < 0, -1, 1)
