"""Predictions on given data: exact kernels of the examples, and the law of a fit over the draw of the random features."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...models.transformers import random_feature_attention
from ...solvers import ridge as ridge_
from ...theory.kernels import attention_kernel
from ...theory.random_matrices import features_on_given_data
from . import _ridge

COARSE = (
    "the features of a head share more than the theory includes: the entry of W at the constant and the lengths of its row and "
    "column"
)


class Kernels(NamedTuple):
    """Kernel matrices of the examples; leading axes, if any, are groups of features."""

    gram: Float[Array, "... sample sample"]
    cross: Float[Array, "... test sample"]
    diagonal: Float[Array, "... test"]

    def masked(self, mask: Float[Array, "sample"]) -> "Kernels":
        """The kernels without the training examples where the mask is 0."""
        gram = jnp.einsum("...ab,a,b->...ab", self.gram, mask, mask)
        return Kernels(gram, jnp.einsum("...xb,b->...xb", self.cross, mask), self.diagonal)


def kernels(kernel_fn: Callable[[Array, Array], Array], data: _ridge.Data) -> Kernels:
    """kernel_fn of all pairs of examples; its value may have an axis of groups."""
    gram, cross = ridge_.gram(kernel_fn, data.x), ridge_.gram(kernel_fn, data.x_test, data.x)
    diagonal = jax.vmap(kernel_fn)(data.x_test, data.x_test)
    return Kernels(_groups_first(gram, 2), _groups_first(cross, 2), _groups_first(diagonal, 1))


def _groups_first(values: Array, axes: int) -> Array:
    return jnp.moveaxis(values, range(axes, values.ndim), range(values.ndim - axes))


def attention(data: _ridge.Data, model: random_feature_attention.Config, centred: bool = False) -> Kernels:
    """Kernels of infinitely many augmented heads, of the keys and of the constant; `centred`: heads of mean 0."""

    def parts(x: Array, y: Array) -> Array:
        if centred:
            return attention_kernel.kernel_parts(x, y, model.weight_std, augment=True)
        return attention_kernel.biased_kernel_parts(x, y, model.weight_std, model.mean_strength, augment=True)

    return kernels(parts, data)


def heads(
    kernels: Kernels,
    y: Float[Array, "sample target"],
    model: random_feature_attention.Config,
    ridge: float,
) -> features_on_given_data.GivenData:
    """The law of the ridge fit over the draw of the heads."""
    block_size = jnp.asarray([model.dim, 1], y.dtype)
    return features_on_given_data.grouped_given_data(*kernels, y, ridge, model.num_heads, block_size)


def test_error(law: features_on_given_data.GivenData, data: _ridge.Data, config: _ridge.Config) -> Float[Array, "target"]:
    """Mean square error over the draw of the features and over the test examples, noise included."""
    return _ridge.test_error(law.mean, data, config) + jnp.mean(law.variance, axis=0)
