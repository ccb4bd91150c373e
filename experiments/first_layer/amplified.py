r"""Multiplying one component of the patches moves the energy profile of the first layer as the changed covariance says.

One principal component of the patches of digits is multiplied by a factor $\alpha$ and the linear network trained anew, with
random labels. Where the filters put their energy depends on the patches by their covariance alone: the exact mean has $T A T$
in place of the covariance $A$ of the average patch, and the paper's formula $\alpha \lambda_i$ in place of $\lambda_i$ of
that component. The formula holds once the patches of all images have been shuffled; in images the average patch mixes
components, so that others move as well.

$$
\begin{align*}
T &= I + (\alpha - 1)\, u_c u_c^\top, \qquad G = I - (I - 2 \eta K\, T A T)^t \\
\mathbb{E}\, e_i^2 &= u_i^\top \left[ \sigma^2 \left( I - \frac{2 G - G^2}{K} \right)
+ \frac{1}{K^2 N} G^2 (T A T)^{-1} \right] u_i
\end{align*}
$$

Source: Chowers and Weiss, arXiv 2206.02454, figure 8b, for its question and formula; the exact mean and the runs are ours
Cost: 55 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Precision, Tolerance, check
from ...models.convolutional import linear_cnn
from ...theory.linear_networks import first_layer
from . import _training
from ._training import State


@dataclass(frozen=True)
class Config:
    model: linear_cnn.Config = field(default_factory=lambda: linear_cnn.Config(channels=1, num_filters=2, init_scale=1e-3))
    num_images: _training.NumImages = 100  # digits, the first so many (N)
    arrangement: _training.Arrangement = "images"  # shuffled: patches change places with those of all other images
    num_networks: Count = 32  # of a run, each with labels and weights of its own
    component: Count = 5  # that is amplified, 1 for the strongest (c)
    factor: NonNegative = 1.0  # by which it is multiplied (alpha)
    leading_share: _training.LeadingShare = 0.9  # of the leading component that the first update learns, 2 eta K a_1
    recorded: _training.Steps = (300,)  # numbers of updates at which the network is measured
    dtype: Precision = "float64"  # components differ by many decades

    def __post_init__(self):
        check(self)
        _training.check_model(self.model, "digits_8x8")
        if self.component > self.model.side**2:
            raise ValueError(f"component must be at most the {self.model.side**2} weights of a filter, got {self.component}")


class Result(NamedTuple):
    energies: Float[Array, "component"]  # e_i^2 in the components of the patches as they were, mean over the networks


def init(key: PRNGKeyArray, config: Config) -> State:
    seen, components = _data(config)
    amplified = seen @ _amplifier(components, config)
    settings = components.vectors, config.model, config.leading_share
    return _training.begin_networks(key, config.num_networks, amplified, *settings)


def step(state: State, config: Config) -> State:
    return _training.step_networks(state)


def observe(state: State, config: Config) -> Result:
    return Result(_training.mean_energies(state))


def steps(config: Config) -> np.ndarray:
    return _training.recorded(config.recorded)


def predict(config: Config, steps: np.ndarray) -> Result:
    seen, components = _data(config)
    covariance, rate = _covariance_and_rate(seen, components, config)
    model = config.model
    energies = first_layer.expected_energies(
        steps, covariance, components.vectors, model.num_filters, model.init_scale, 1.0, config.num_images, rate
    )
    return Result(energies)


def predict_paper(config: Config, steps: np.ndarray) -> Result:
    """The paper's formula, with the eigenvalue of the component multiplied by the square of the factor."""
    seen, components = _data(config)
    rate = _covariance_and_rate(seen, components, config)[1]
    eigenvalues = jnp.maximum(components.eigenvalues, 0).at[config.component - 1].multiply(config.factor**2)
    return Result(_training.paper_energies(steps, eigenvalues, seen, rate, config.model.num_filters))


def _data(config: Config) -> tuple[_training.Patches, linear_cnn.Components]:
    """Patches of the digits without amplification, and their principal components."""
    x, _ = _training.load("digits_8x8", config.num_images)
    seen = _training.arranged(_training.patches(x, config.model.side), config.arrangement)
    return seen, linear_cnn.principal_components(seen)


def _amplifier(components: linear_cnn.Components, config: Config) -> Float[Array, "weight weight"]:
    """T, which multiplies one component of a patch."""
    chosen = components.vectors[:, config.component - 1]
    return jnp.eye(len(chosen)) + (config.factor - 1) * jnp.outer(chosen, chosen)


def _covariance_and_rate(
    seen: _training.Patches, components: linear_cnn.Components, config: Config
) -> tuple[Float[Array, "weight weight"], Float[Array, ""]]:
    """T A T, and the learning rate."""
    covariance = _training.moments(seen, jnp.zeros(config.num_images)).covariance
    T = _amplifier(components, config)
    amplified = T @ covariance @ T
    return amplified, _training.learning_rate(config.leading_share, amplified, config.model.num_filters)


TOLERANCE = {"energies": Tolerance(1e-9, reason="the prediction is the exact mean: rounding")}
QUICK = {"model.side": 2, "model.num_filters": 2, "num_networks": 2, "num_images": 20, "recorded": (5,), "component": 2}
SEEDS = 64
GRID = {"arrangement": ("images", "shuffled"), "factor": (0.25, 1.0, 4.0)}
