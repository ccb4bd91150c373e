"""Predictions on given data: exact kernels of the examples, and the law of a fit over the draw of the random features."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...models import random_feature_attention
from ...solvers import ridge as ridge_
from ...theory import attention_kernel, random_features
from . import _ridge


class Kernels(NamedTuple):
    """Leading axes, if any, are groups of features."""

    gram: Float[Array, "... sample sample"]
    cross: Float[Array, "... test sample"]
    diagonal: Float[Array, "... test"]

    def first(self, num_samples: int) -> "Kernels":
        """Of the first training examples alone."""
        return Kernels(self.gram[..., :num_samples, :num_samples], self.cross[..., :num_samples], self.diagonal)


def kernels(kernel_fn: Callable[[Array, Array], Array], data: _ridge.Data) -> Kernels:
    """kernel_fn of all pairs; its value may have an axis of groups."""
    gram, cross = ridge_.gram(kernel_fn, data.x), ridge_.gram(kernel_fn, data.x_test, data.x)
    groups_first = (jnp.moveaxis(part, range(2, part.ndim), range(part.ndim - 2)) for part in (gram, cross))
    return Kernels(*groups_first, jax.vmap(kernel_fn, out_axes=-1)(data.x_test, data.x_test))


def attention(data: _ridge.Data, model: random_feature_attention.Config) -> Kernels:
    """Of augmented heads with infinitely many of them: features of the keys, and those of the constant."""

    def parts(x: Array, y: Array) -> Array:
        return attention_kernel.biased_kernel_parts(x, y, model.weight_std, model.mean_strength, augment=True)

    return kernels(parts, data)


def heads(
    kernels: Kernels, data: _ridge.Data, model: random_feature_attention.Config, num_heads: float, ridge: Array | float
) -> random_features.GivenData:
    """The law of the ridge fit over the draw of num_heads heads; inf for the kernels themselves."""
    block_size = jnp.asarray([model.dim, 1], data.y.dtype)
    return random_features.grouped_given_data(*kernels, data.y, ridge, num_heads, block_size)


def test_error(law: random_features.GivenData, data: _ridge.Data, config: _ridge.Config) -> Float[Array, "target"]:
    """Mean square over the draw of the features and over the test examples, noise included."""
    return _ridge.test_error(law.mean, data, config) + jnp.mean(law.variance, axis=0)
