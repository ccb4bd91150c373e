"""What the ridge experiments share: examples with several targets, and the errors of a fit."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, Positive, Precision, check
from ...tasks import sphere_tokens
from ...theory.kernels import attention_kernel

Counts = Annotated[tuple[Count, ...], MinLen(1), Distinct]
TARGETS = {
    "linear": sphere_tokens.LINEAR,
    "quadratic": sphere_tokens.QUADRATIC,
    "correlation": sphere_tokens.CORRELATION,
    "gated": sphere_tokens.GATED,
    "gated twice": sphere_tokens.Target(2, 1),
}


@dataclass(frozen=True)
class Config:
    ridge: Positive = 1e-3  # weight delta of the squared norm, not divided by the number of samples
    noise_variance: NonNegative = 0.05  # variance of the noise on the labels; targets have variance 1
    num_test: Count = 2000  # fresh examples on which the error is measured
    dtype: Precision = "float64"  # the systems are ill conditioned

    def __post_init__(self):
        check(self)


class Data(NamedTuple):
    x: Float[Array, "sample token dim"]
    y: Float[Array, "sample target"]  # noisy
    x_test: Float[Array, "test token dim"]
    f_test: Float[Array, "test target"]  # without noise


def draw(key: PRNGKeyArray, targets: tuple[str, ...], num_samples: int, num_keys: int, dim: int, config: Config) -> Data:
    """Independent examples with the targets of these names on them."""
    key_x, key_noise = jax.random.split(key)
    x = sphere_tokens.sample(key_x, num_samples + config.num_test, num_keys, dim)
    noise = jnp.sqrt(config.noise_variance) * jax.random.normal(key_noise, (num_samples, len(targets)))
    f = values(targets, x)
    return Data(x[:num_samples], f[:num_samples] + noise, x[num_samples:], f[num_samples:])


def values(targets: tuple[str, ...], x: Float[Array, "sample token dim"]) -> Float[Array, "sample target"]:
    """The targets, side by side."""
    columns = [jax.vmap(lambda one, t=TARGETS[name]: sphere_tokens.evaluate(t, one))(x) for name in targets]
    return jnp.stack(columns, axis=1)


def test_error(predicted: Float[Array, "test target"], data: Data, config: Config) -> Float[Array, "target"]:
    """Mean square error, the noise of a fresh label included: its variance is known and not drawn."""
    return jnp.mean((predicted - data.f_test) ** 2, axis=0) + config.noise_variance


def train_error(
    predicted: Float[Array, "sample target"], data: Data, mask: Float[Array, "sample"] | None = None
) -> Float[Array, "target"]:
    """Mean square residual on the training labels in the mask."""
    mask = jnp.ones(len(data.y), data.y.dtype) if mask is None else mask
    return mask @ (predicted - data.y) ** 2 / jnp.sum(mask)


def powers(targets: tuple[str, ...], num_keys: int, dim: int) -> Float[Array, "target r s"]:
    """The power of every target in the harmonic blocks, for the predictions."""
    return jnp.stack([attention_kernel.target_power(dim, num_keys, *TARGETS[name]) for name in targets])
