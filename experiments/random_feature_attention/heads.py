r"""The risk has a second descent in the number of heads: it peaks where heads times dimension equal the samples.

Each head of attention without augmentation brings $d$ features. By rotation invariance $M$ heads act like $M d$ independent
features, although those of one head are not independent.

$$
\begin{align*}
\delta &= \gamma (n - z) \left( 1 - \frac{z}{k} \right), \qquad k = M d \\
z &= \sum m L + \frac{\tau}{\gamma}, \qquad q = \sum m L^2, \qquad L = \frac{\lambda}{\lambda + \gamma} \\
\text{test} &= \frac{\sum v \left[ 1 - L - \kappa \lambda (\lambda + \gamma)^{-2}\, k/(k - q) \right] + \sigma^2}
  {1 - [q (k - 2 z) + z^2]/[n (k - q)]}
\end{align*}
$$

Sums run over the modes of the kernel of infinitely many heads, of eigenvalue $\lambda$, multiplicity $m$ and target power
$v$, with the trace $\tau$ beyond them; $\gamma$ is the root of the first equation, $\kappa = \delta/(n - z)$, $\delta$ is
`ridge` and $\sigma^2$ `noise_variance`.

Source: random-feature equivalent: Simon et al., arXiv 2311.14646; that M d is the number of features is derived here
Cost: 20 s
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from ...contract import Positive, Tolerance
from ...theory.kernels import kernel_regression
from . import _heads

TARGETS = ("linear", "gated")
Result = _heads.Result


@dataclass(frozen=True)
class Config(_heads.Config):
    ridge: Positive = 1e-4  # weight delta of the squared norm, not divided by the number of samples

    def __post_init__(self):
        super().__post_init__()
        if self.model.augment:
            raise ValueError("model.augment must be False: augmented heads follow other laws, see augmented_heads")


def labels(config: Config) -> dict[str, tuple]:
    return _heads.labels(TARGETS, config)


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    return _heads.simulate(key, TARGETS, config)


def predict(config: Config) -> Result:
    return _heads.predict_independent(TARGETS, config)


def predict_infinite(config: Config) -> Result:
    """The limit of infinitely many heads, where the curves end on the right."""
    spectrum = _heads.spectrum(config)

    def risk(num_heads: Array, power: Array) -> Array:
        curve = kernel_regression.learning_curve(config.num_samples, config.ridge, spectrum, power, config.noise_variance)
        return jnp.full_like(num_heads, curve.test)

    return _heads.predict(risk, TARGETS, config)


TOLERANCE = {
    "test": Tolerance(0.1, reason="the equivalent is exact as n, M d and the multiplicities grow: 8 modes of degree 1 here"),
    "peak": Tolerance(
        0.2,
        reason="near the peak the error is proportional to 1/(1 - q/n) with q close to n, and few draws dominate its mean",
    ),
}
CURVE = {"num_heads": 400}
QUICK = {
    "model.dim": 4,
    "model.num_keys": 2,
    "model.num_heads": 10,
    "num_heads": (2, 5, 10),
    "num_samples": 20,
    "num_test": 50,
}
SEEDS = 20
PRESETS = {
    "large": {
        "model.dim": 16,
        "model.num_keys": 16,
        "model.num_heads": 2000,
        "num_heads": (20, 40, 55, 63, 70, 100, 200, 500, 1000, 2000),
        "num_samples": 1000,
    }
}
