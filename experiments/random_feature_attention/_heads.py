"""Ridge regression on finitely many heads: what `heads`, `augmented_heads` and `parity` share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count
from ...models.transformers import random_feature_attention as attention
from ...solvers import ridge
from ...theory.kernels import attention_kernel
from ...theory.kernels.spectrum import Spectrum
from ...theory.random_matrices import random_feature_risk
from . import _ridge


@dataclass(frozen=True)
class Config(_ridge.Config):
    model: attention.Config = field(default_factory=lambda: attention.Config(num_heads=400))
    num_heads: _ridge.Counts = (6, 10, 15, 20, 25, 30, 37, 45, 64, 100, 200, 400)  # the first of the model's, paper M
    num_samples: Count = 300  # training examples, paper n

    def __post_init__(self):
        super().__post_init__()
        if max(self.num_heads) > self.model.num_heads:
            raise ValueError(f"num_heads must be at most model.num_heads = {self.model.num_heads}, got {self.num_heads}")
        if self.model.mean_strength != 0:
            raise ValueError(f"model.mean_strength must be 0: heads with a mean are in bias; got {self.model.mean_strength}")

    def counts(self, near: bool) -> tuple[int, ...]:
        """The numbers of heads that bring about as many features as there are samples, within a factor 1.3, or the others."""
        return tuple(m for m in self.num_heads if near == (1 / 1.3 < m / self.heads_at_peak < 1.3))

    @property
    def heads_at_peak(self) -> float:
        """The number of heads that have one feature for every sample."""
        return self.num_samples / (self.model.dim + self.model.augment)


class Result(NamedTuple):
    """Test errors, noise included: for heads away from the peak of double descent, and near to it."""

    test: Float[Array, "target heads"]
    peak: Float[Array, "target near"]


def labels(targets: tuple[str, ...], config: Config) -> dict[str, tuple]:
    return {"target": targets, "heads": config.counts(False), "near": config.counts(True)}


def simulate(key: PRNGKeyArray, targets: tuple[str, ...], config: Config) -> Result:
    """Ridge fits of one draw of data and heads, for all numbers of heads."""
    away, near = config.counts(False), config.counts(True)
    test = errors(key, targets, config.model, tuple((config.num_samples, m) for m in (*away, *near)), config)
    return Result(test[:, : len(away)], test[:, len(away) :])


def predict(risk_fn: Callable[[Array, Array], Array], targets: tuple[str, ...], config: Config) -> Result:
    """risk_fn(number of heads, powers of a target) wherever the simulation has a point."""
    powers = _ridge.powers(targets, config.model.num_keys, config.model.dim)
    over = jax.vmap(jax.vmap(risk_fn, (0, None)), (None, 0))
    return Result(*(over(jnp.asarray(config.counts(near), float), powers) for near in (False, True)))


def predict_independent(targets: tuple[str, ...], config: Config) -> Result:
    """The prediction if all features of all heads were independent."""
    exact = spectrum(config)

    def risk(num_heads: Array, power: Array) -> Array:
        features = num_heads * (config.model.dim + config.model.augment)
        return random_feature_risk.risk(config.num_samples, features, config.ridge, exact, power, config.noise_variance).test

    return predict(risk, targets, config)


def spectrum(config: Config) -> Spectrum:
    """The spectrum of the kernel of infinitely many heads."""
    model = config.model
    return attention_kernel.spectrum(model.dim, model.num_keys, model.weight_std, model.augment)


def errors(
    key: PRNGKeyArray,
    targets: tuple[str, ...],
    model: attention.Config,
    counts: tuple[tuple[int, int], ...],
    config: _ridge.Config,
) -> Float[Array, "target count"]:
    """Test errors of the ridge fit for each (number of samples, number of heads), parts of one draw of data and heads."""
    key_data, key_heads = jax.random.split(key)
    data = _ridge.draw(key_data, targets, max(n for n, _ in counts), model.num_keys, model.dim, config)
    w = attention.init(key_heads, model).w

    def features(x: Array) -> Float[Array, "example head value"]:
        return jax.vmap(attention.features, (None, 0))(w, x)

    train, test = features(data.x), features(data.x_test)

    def error(num_samples: int, num_heads: int) -> Float[Array, "target"]:
        scale = (model.num_heads / num_heads) ** 0.5  # features carry 1/sqrt(heads)
        phi, phi_test = (scale * part[:, :num_heads].reshape(len(part), -1) for part in (train[:num_samples], test))
        return _ridge.test_error(phi_test @ ridge.fit(phi, data.y[:num_samples], config.ridge), data, config)

    return jnp.stack([error(*count) for count in counts], axis=1)
