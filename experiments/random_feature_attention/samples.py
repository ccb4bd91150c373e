r"""Attention learns means over keys from fewer samples than a network of equal size; heads with a mean help with correlations.

Test error against samples for augmented attention with heads of mean zero, for heads with a mean of $W$ on the diagonal, and
for a two-layer network on the concatenated tokens with as many trained numbers; each is ridge regression on random features.
The prediction takes the exact kernels, the data, and the number of features.

$$
\begin{align*}
\text{test} &= \left\langle (K_x G y - f(x))^2 + \frac{\gamma'}{k}\, y^\top G K G y
  \left( K_{xx} - 2 K_x G K_x^\top + K_x G K G K_x^\top \right) \right\rangle_x + \sigma^2 \\
\text{train} &= \frac{\gamma^2}{n} \left[ \|G y\|^2 + \frac{\gamma'}{k} \operatorname{tr}[K G^2]\; y^\top G K G y \right],
\qquad G = (K + \gamma)^{-1} \\
\delta &= \gamma \left( 1 - \frac{1}{k} \operatorname{tr}[K G] \right), \qquad
\frac{1}{\gamma'} = 1 - \frac{1}{k} \operatorname{tr}[(K G)^2]
\end{align*}
$$

Here $K$, $K_x$ and $K_{xx}$ are the kernel among the samples, of $x$ with them and at $x$, $k$ is the number of features, $f$
the target, $\delta$ `ridge` and $\sigma^2$ `noise_variance`. This formula is for the network; the features of heads fall into
two groups, keys and constant, for which `bias` has the formula.

Source: the comparison of Fu, Guo, Bai and Mei, arXiv 2307.11353 (sizes recalled); kernels of attention derived here, equivalent
on given data from Jacot et al., arXiv 2002.08404, its variance derived here
Cost: 75 s
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Static, Tolerance
from ...models.fully_connected import random_feature_network as network
from ...models.transformers import random_feature_attention as attention
from ...solvers import ridge
from ...theory.gaussian.relu_moments import arc_cosine
from ...theory.random_matrices import features_on_given_data
from .. import _measure
from . import _given, _ridge

TARGETS = ("linear", "quadratic", "correlation", "gated", "gated twice")
MODELS = ("heads of mean zero", "heads with a mean", "network")


@dataclass(frozen=True)
class Config(_ridge.Config):
    dim: Count = 16  # dimension of a token, paper d
    num_keys: Count = 4  # keys of an example, paper N
    num_heads: Count = 200  # paper M; the network has num_heads * (dim + 1) hidden units
    mean_strength: Annotated[float, Static] = 1.0  # alpha of the heads with a mean
    num_samples: _ridge.Counts = (32, 64, 128, 256, 512)  # training examples n, the first of the same draw
    ridge: Positive = 1e-2  # weight delta of the squared norm, not divided by the number of samples
    num_test: Count = 500  # fresh examples on which the error is measured

    def heads(self, mean_strength: float) -> attention.Config:
        return attention.Config(self.dim, self.num_keys, self.num_heads, True, 0.5, mean_strength)

    @property
    def network(self) -> network.Config:
        """A network with as many trained numbers as the heads."""
        return network.Config(self.dim, self.num_keys, self.heads(0.0).num_features)


class State(NamedTuple):
    data: _ridge.Data
    key: PRNGKeyArray  # of the random features


class Result(NamedTuple):
    test: Float[Array, "model target samples"]  # mean square error on fresh examples, noise included
    train: Float[Array, "model target samples"]  # mean square residual on the training labels


def labels(config: Config) -> dict[str, tuple]:
    return {"model": MODELS, "target": TARGETS, "samples": config.num_samples}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_data, key_features = jax.random.split(key)
    most = max(config.num_samples)
    return State(_ridge.draw(key_data, TARGETS, most, config.num_keys, config.dim, config), key_features)


def simulate(state: State, config: Config) -> Result:
    keys, data = jax.random.split(state.key, 3), state.data
    centred, biased = (
        attention.init(key, config.heads(mean)).w for key, mean in zip(keys[:2], (0.0, config.mean_strength), strict=True)
    )
    wide = network.init(keys[2], config.network).w

    def errors(features_fn, weights: Array) -> Result:
        phi, phi_test = (jax.vmap(lambda one: features_fn(weights, one).ravel())(x) for x in (data.x, data.x_test))

        def of_first(mask: Float[Array, "sample"]) -> Result:
            fit = ridge.fit(phi * mask[:, None], data.y * mask[:, None], config.ridge)
            return Result(_ridge.test_error(phi_test @ fit, data, config), _ridge.train_error(phi @ fit, data, mask))

        return jax.tree.map(jnp.transpose, jax.lax.map(of_first, _measure.first(config.num_samples)))

    fits = (errors(attention.features, centred), errors(attention.features, biased), errors(network.features, wide))
    return _measure.stacked(fits)


def predict(state: State, config: Config) -> Result:
    """The mean over random features given the data."""
    data = state.data

    def concatenated(x: Array, y: Array) -> Array:
        return arc_cosine(1, (jnp.sum(x * y) + 1) / (config.num_keys + 2))

    def of_heads(model: attention.Config) -> Result:
        kernels = _given.attention(data, model, centred=model.mean_strength == 0)
        return errors(kernels, lambda part, y: _given.heads(part, y, model, config.ridge))

    def of_network() -> Result:
        count, kernels = config.network.num_features, _given.kernels(concatenated, data)
        return errors(kernels, lambda part, y: features_on_given_data.given_data(*part, y, config.ridge, count))

    def errors(kernels: _given.Kernels, law_fn: Callable[[_given.Kernels, Array], features_on_given_data.GivenData]) -> Result:
        def of_first(mask: Float[Array, "sample"]) -> Result:
            law = law_fn(kernels.masked(mask), data.y * mask[:, None])
            return Result(_given.test_error(law, data, config), law.train * len(mask) / jnp.sum(mask))

        return jax.tree.map(jnp.transpose, jax.lax.map(of_first, _measure.first(config.num_samples)))

    models = (of_heads(config.heads(0.0)), of_heads(config.heads(config.mean_strength)), of_network())
    return _measure.stacked(models)


TOLERANCE = {
    "test": Tolerance(0.1, reason=_given.COARSE),
    "train": Tolerance(0.1, 1e-4, reason=_given.COARSE + "; where the fit interpolates, both errors are close to 0"),
}
QUICK = {"num_samples": (8, 16), "num_heads": 10, "num_test": 50, "dim": 4, "num_keys": 2}
PRESETS = {"paper": {"num_keys": 16, "num_heads": 1000, "num_samples": (32, 64, 128, 256, 512, 1024)}}  # sizes recalled
