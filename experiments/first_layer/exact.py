r"""A linear convolutional network sees an image by its average patch: every filter follows a closed form at every step.

Full-batch gradient descent on real digits, with classes (5 to 9 against 0 to 4) or random signs as labels. All filters receive
the same update, so that the function is learned by their sum. The prediction starts from the weights and labels of the same
seed; beside it is the mean over labels and starts.

$$
w_k(t) = w_k(0) + \frac{1}{K} V \operatorname{diag}(g)\, V^\top (A^{-1} b - s_0), \qquad g_i = 1 - (1 - 2 \eta K a_i)^t
$$

with the covariance $A = V \operatorname{diag}(a) V^\top$ of the average patch, its correlation $b$ with the labels, and the sum
$s_0$ of the filters at the start.

Source: derived here; the network is that of Chowers and Weiss, arXiv 2206.02454
Cost: 20 s
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Precision, Tolerance, check
from ...models.convolutional import linear_cnn
from ...theory.linear_networks import first_layer
from . import _training
from ._training import State


@dataclass(frozen=True)
class Config:
    model: linear_cnn.Config = field(default_factory=lambda: linear_cnn.Config(channels=1, num_filters=7, init_scale=0.05))
    num_images: _training.NumImages = 1797  # digits, the first so many (N)
    labels: Literal["classes", "random"] = "random"  # digits from 5 on against the others, or a fair coin for every image
    leading_share: _training.LeadingShare = 0.9  # of the leading component that the first update learns, 2 eta K a_1
    recorded: _training.Steps = (0, 1, 2, 3, 5, 7, 10, 14, 20, 30, 45, 70, 100, 150, 220, 300)  # updates before a record
    dtype: Precision = "float64"  # the prediction is exact

    def __post_init__(self):
        check(self)
        _training.check_model(self.model, "digits_8x8")


class Result(NamedTuple):
    energies: Float[Array, "component"]  # e_i^2 in the principal components of the patches
    effective: Float[Array, "weight"]  # the sum of the filters
    loss: Float[Array, ""]  # mean squared error


def init(key: PRNGKeyArray, config: Config) -> State:
    key_labels, key_model = jax.random.split(key)
    x, classes = _training.load("digits_8x8", config.num_images)
    seen = _training.patches(x, config.model.side)
    y = classes if config.labels == "classes" else _training.random_labels(key_labels, config.num_images)
    vectors = linear_cnn.principal_components(seen).vectors
    return _training.begin(key_model, seen, y, vectors, config.model, config.leading_share)


def step(state: State, config: Config) -> State:
    return _training.step(state)


def observe(state: State, config: Config) -> Result:
    effective = jnp.sum(linear_cnn.bank(state.params), axis=0)
    return Result(_training.energies(state), effective, _training.loss(state.params, state.patches, state.y))


def steps(config: Config) -> np.ndarray:
    return _training.recorded(config.recorded)


def predict(state: State, config: Config, steps: np.ndarray) -> Result:
    data = _training.moments(state.patches, state.y)
    start = linear_cnn.bank(state.params)
    filters = first_layer.trained_filters(steps, data.covariance, data.correlation, start, state.learning_rate)
    loss = first_layer.loss(filters, data.covariance, data.correlation, data.label_power)
    return Result(first_layer.energies(filters, state.vectors), jnp.sum(filters, axis=1), loss)


def predict_expected(state: State, config: Config, steps: np.ndarray) -> Result:
    """The mean over random labels and starts, for the same images."""
    A = _training.moments(state.patches, state.y).covariance
    model = config.model
    energies = first_layer.expected_energies(
        steps, A, state.vectors, model.num_filters, model.init_scale, 1.0, config.num_images, state.learning_rate
    )
    return Result(energies, None, None)  # pyright: ignore[reportArgumentType]


_EXACT = "the prediction is exact: float64's rounding over the updates"
TOLERANCE = {
    "energies": Tolerance(1e-9, 1e-13, reason=_EXACT),
    "effective": Tolerance(1e-9, 1e-12, reason=f"{_EXACT}; absolute: weights pass through 0"),
    "loss": Tolerance(1e-10, reason=_EXACT),
}
QUICK = {"model.side": 2, "model.num_filters": 3, "num_images": 20, "recorded": (0, 1, 5)}
SEEDS = 8
GRID = {"labels": ("classes", "random")}
