r"""Without a constant in the tokens, heads of mean zero never learn quadratic or correlation targets.

$\operatorname{relu}(x_0^\top W x_i)\, x_i$ summed over heads is odd under a joint sign flip of all tokens, and its kernel has
no modes of degrees (0, 2) or (1, 1) in query and keys: more samples only fit more of the target as if it were noise, and the
error is never below $1 + \sigma^2$, the error of the zero function. With the constant the error falls.

$$
\begin{align*}
\text{plain} &= \frac{1 + \sigma^2}{1 - [q (k - 2 z) + z^2]/[n (k - q)]} \ge 1 + \sigma^2, \qquad
k = M d, \quad \delta = \gamma (n - z) \left( 1 - \frac{z}{k} \right) \\
\text{augmented} &= \frac{n}{n - Q} \left[ \sum v\, \frac{\kappa^2 (1 + A')}{l^2} + \sigma^2 \right]
\end{align*}
$$

The first is the risk of `heads` where $L = 0$ for all modes of the target, with $z = \sum m L + \tau/\gamma$,
$q = \sum m L^2$ and $L = \lambda/(\lambda + \gamma)$ over the others; the second is that of `augmented_heads`, where
$\kappa$, $A$, $l$ and $Q$ are given. $\delta$ is `ridge` and $\sigma^2$ `noise_variance`.

Source: derived here, from the setting of Fu, Guo, Bai and Mei, arXiv 2307.11353
Cost: 20 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Tolerance
from ...models.transformers import random_feature_attention as attention
from ...theory.kernels import attention_kernel
from ...theory.random_matrices import grouped_feature_risk, random_feature_risk
from . import _heads, _ridge

TARGETS = ("quadratic", "correlation")


@dataclass(frozen=True)
class Config(_ridge.Config):
    dim: Count = 8  # dimension of a token, paper d
    num_keys: Count = 4  # keys of an example, paper N
    num_heads: Count = 200  # paper M
    num_samples: _ridge.Counts = (16, 32, 64, 128, 256, 512, 1024)  # training examples n, the first of the same draw

    def model(self, augment: bool) -> attention.Config:
        return attention.Config(self.dim, self.num_keys, self.num_heads, augment, 0.5 if augment else 1.0)


class Result(NamedTuple):
    """Test errors, noise included, of ridge regression on the heads."""

    plain: Float[Array, "target samples"]  # tokens x
    augmented: Float[Array, "target samples"]  # tokens [x; 1]


def labels(config: Config) -> dict[str, tuple]:
    return {"target": TARGETS, "samples": config.num_samples}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    counts = tuple((n, config.num_heads) for n in config.num_samples)
    return Result(*(_heads.errors(key, TARGETS, config.model(augment), counts, config) for augment in (False, True)))


def predict(config: Config) -> Result:
    spectrum = attention_kernel.spectrum(config.dim, config.num_keys)
    groups = attention_kernel.groups(config.dim, config.num_keys)

    def plain(num_samples: Array, power: Array) -> Array:
        features = config.num_heads * config.dim
        return random_feature_risk.risk(num_samples, features, config.ridge, spectrum, power, config.noise_variance).test

    def augmented(num_samples: Array, power: Array) -> Array:
        return grouped_feature_risk.grouped_risk(
            num_samples, config.num_heads, config.ridge, groups, spectrum.multiplicities, power, config.noise_variance
        ).test

    samples, powers = jnp.asarray(config.num_samples, float), _ridge.powers(TARGETS, config.num_keys, config.dim)
    return Result(*(jax.vmap(jax.vmap(risk, (0, None)), (None, 0))(samples, powers) for risk in (plain, augmented)))


TOLERANCE = {
    "plain": Tolerance(0.1, reason="the equivalents are exact as n, M d and the multiplicities grow: 8 modes of degree 1 here"),
    "augmented": Tolerance(
        0.1,
        reason="the equivalents are exact as n, M (d + 1) and the multiplicities grow, and the features of a head share more "
        "numbers than the one that the theory averages over",
    ),
}
CURVE = {"num_samples": 100}
QUICK = {"num_samples": (8, 16), "num_heads": 10, "num_test": 50, "dim": 4, "num_keys": 2}
SEEDS = 10
