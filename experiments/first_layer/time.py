r"""As training goes on, the energy of a first layer moves from the strong to the weak components of its patches.

Mean energies of the linear network over random labels and starts, after several numbers of steps. They follow the exact mean,
in which the covariance of the average patch decides. The paper's formula has the covariance of single patches, which is the
same up to a factor if the patches of an image are uncorrelated: it holds, with its scale, after the patches of all images
have been shuffled, and is far off for images as they are.

$$
\begin{align*}
\mathbb{E}\, e_i^2 &= u_i^\top \left[ \sigma^2 \left( I - \frac{2 G - G^2}{K} \right) + \frac{1}{K^2 N} G^2 A^{-1} \right] u_i,
\qquad G = I - (I - 2 \eta K A)^t \\
e_i &\approx \frac{1}{K} \sqrt{\frac{J}{N}}\; \frac{|1 - (1 - \eta_p \lambda_i^2)^t|}{\lambda_i}, \qquad
\eta_p = \frac{2 \eta K}{J}
\end{align*}
$$

with the covariance $A$ of the average patch, and components $u_i$ and eigenvalues $\lambda_i^2$ of the covariance of the
patches.

Source: Chowers and Weiss, arXiv 2206.02454, theorem 4.2 and figure 4 (second line, up to its factor); the first line, the
factor and the runs are ours
Cost: 40 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Precision, Tolerance, check
from ...models.convolutional import linear_cnn
from ...theory.linear_networks import first_layer
from . import _training
from ._training import State


@dataclass(frozen=True)
class Config:
    data: _training.Data = "photographs"  # crops of two photographs; or digits_8x8, with model.channels = 1
    crop_side: _training.CropSide = 6  # pixels along an edge of a crop
    arrangement: _training.Arrangement = "images"  # shuffled: patches change places with those of all other images
    model: linear_cnn.Config = field(default_factory=lambda: linear_cnn.Config(channels=3, num_filters=2, init_scale=1e-3))
    num_networks: Count = 32  # of a run, each with labels and weights of its own
    num_images: _training.NumImages = 60  # images (N)
    leading_share: _training.LeadingShare = 0.9  # of the leading component that the first update learns, 2 eta K a_1
    recorded: _training.Steps = (1, 10, 100, 1000)  # numbers of updates at which the network is measured
    dtype: Precision = "float64"  # components differ by many decades

    def __post_init__(self):
        check(self)
        _training.check_model(self.model, self.data, self.crop_side)


class Result(NamedTuple):
    energies: Float[Array, "component"]  # e_i^2, mean over the networks


def init(key: PRNGKeyArray, config: Config) -> State:
    seen, components = _data(config)
    settings = components.vectors, config.model, config.leading_share
    return _training.begin_networks(key, config.num_networks, seen, *settings)


def step(state: State, config: Config) -> State:
    return _training.step_networks(state)


def observe(state: State, config: Config) -> Result:
    return Result(_training.mean_energies(state))


def steps(config: Config) -> np.ndarray:
    return _training.recorded(config.recorded)


def predict(config: Config, steps: np.ndarray) -> Result:
    seen, components = _data(config)
    covariance, rate = _covariance_and_rate(seen, config)
    model = config.model
    energies = first_layer.expected_energies(
        steps, covariance, components.vectors, model.num_filters, model.init_scale, 1.0, config.num_images, rate
    )
    return Result(energies)


def predict_paper(config: Config, steps: np.ndarray) -> Result:
    """The paper's formula, from the covariance of the patches, with the factor that uncorrelated patches give it."""
    seen, components = _data(config)
    rate = _covariance_and_rate(seen, config)[1]
    eigenvalues = jnp.maximum(components.eigenvalues, 0)
    return Result(_training.paper_energies(steps, eigenvalues, seen, rate, config.model.num_filters))


def _data(config: Config) -> tuple[_training.Patches, linear_cnn.Components]:
    """Patches of the images, and their principal components."""
    x, _ = _training.load(config.data, config.num_images, config.crop_side)
    seen = _training.arranged(_training.patches(x, config.model.side), config.arrangement)
    return seen, linear_cnn.principal_components(seen)


def _covariance_and_rate(seen: _training.Patches, config: Config) -> tuple[Float[Array, "weight weight"], Float[Array, ""]]:
    """Of the average patch, and the learning rate."""
    covariance = _training.moments(seen, jnp.zeros(config.num_images)).covariance
    return covariance, _training.learning_rate(config.leading_share, covariance, config.model.num_filters)


TOLERANCE = {"energies": Tolerance(1e-9, reason="the prediction is the exact mean: rounding")}
QUICK = {"model.side": 2, "model.num_filters": 2, "num_networks": 2, "num_images": 20, "recorded": (1, 5)}
SEEDS = 64
GRID = {"arrangement": ("images", "shuffled")}
PRESETS = {"digits": {"data": "digits_8x8", "model.channels": 1}}
