"""Measurements that experiments of several papers share. No prediction and no theory: the simulated side may use them."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Tree = TypeVar("Tree")


def log_slope(sizes: Sequence[float] | Array, values: Float[Array, "*batch size"]) -> Float[Array, "*batch"]:
    """Exponent of a power law: slope of log(values) against log(sizes), least squares.

    >>> round(float(log_slope((8, 16, 32), jnp.array([1.0, 0.25, 0.0625]))), 6)
    -2.0
    """
    return exponential_rate(jnp.log(jnp.asarray(sizes, values.dtype)), values)


def exponential_rate(x: Float[Array, "size"], values: Float[Array, "*batch size"]) -> Float[Array, "*batch"]:
    """Rate of an exponential law: slope of log(values) against x, least squares."""
    centred = x - jnp.mean(x)
    return jnp.log(values) @ centred / jnp.sum(centred**2)


def first(num_samples: tuple[int, ...]) -> Float[Array, "samples sample"]:
    """Masks of the first n examples, a row for each n: zeros drop out of a ridge fit, so that one program serves all n."""
    return (jnp.arange(max(num_samples))[None] < jnp.asarray(num_samples)[:, None]).astype(float)


def stacked(results: Iterable[Tree]) -> Tree:
    """Results of several settings as one, whose arrays have the settings as a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)
