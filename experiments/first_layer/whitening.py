r"""Filters trained on random labels answer to an image with less correlation between places than random filters do.

Responses at places some pixels apart, on crops of photographs: of the pixels themselves, of random filters, of the filters of a
linear network trained on random labels, and of filters that whiten the patches. As soon as two filters share no pixel,
what is left of the correlation is what one patch predicts linearly of the other.

$$
\rho(\delta) = \frac{\mathbb{E} \sum_k y_k(r)\, y_k(r + \delta)}{\mathbb{E} \sum_k y_k(r)^2}
= \frac{\operatorname{tr}(M\, C(\delta))}{\operatorname{tr}(M\, C(0))}, \qquad
C(\delta) = \mathbb{E}\, p(r)\, p(r + \delta)^\top
$$

with the responses $y_k$, the patches $p$ and the second moment $M$ of the filters: the trained ones by their closed form,
from the weights and labels of the same seed. Beside it is the ratio of the means over all draws.

Source: Chowers and Weiss, arXiv 2206.02454, figure 6 and theorem 4.3; the formula and the runs are ours
Cost: 25 s
"""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Precision, Tolerance, check
from ...models.convolutional import linear_cnn
from ...theory.linear_networks import first_layer
from ...theory.linear_networks import whitening as theory
from . import _training

BANKS = ("pixels", "random", "trained", "whitening")


@dataclass(frozen=True)
class Config:
    model: linear_cnn.Config = field(default_factory=lambda: linear_cnn.Config(channels=3, num_filters=4, init_scale=1e-3))
    num_images: _training.NumImages = 40  # crops of photographs (N)
    crop_side: _training.CropSide = 16  # pixels along an edge of a crop
    leading_share: _training.LeadingShare = 0.9  # of the leading component that the first update learns, 2 eta K a_1
    recorded: _training.Steps = (30, 300, 3000)  # numbers of updates at which the network is measured
    num_others: Count = 32  # random filters, and filters that whiten
    max_distance: Annotated[int, Ge(0)] = 10  # largest distance of two places, in pixels (delta)
    dtype: Precision = "float64"  # components differ by many decades

    def __post_init__(self):
        check(self)
        _training.check_model(self.model, "photographs", self.crop_side)
        if self.max_distance > (most := self.crop_side - self.model.side):
            raise ValueError(
                f"max_distance must be at most {most}, crop_side less model.side, for two places to be in a crop; "
                f"got {self.max_distance}"
            )


class State(NamedTuple):
    training: _training.State
    others: Float[Array, "two other weight"]  # random filters, and filters that whiten the patches


class Result(NamedTuple):
    autocorrelation: Float[Array, "bank distance"]  # of responses, mean over rows and columns


def labels(config: Config) -> dict[str, tuple]:
    return {"bank": BANKS, "distance": tuple(range(config.max_distance + 1))}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_labels, key_model, key_others = jax.random.split(key, 3)
    seen = _patches(config)
    components = linear_cnn.principal_components(seen)
    y = _training.random_labels(key_labels, config.num_images)
    begun = _training.begin(key_model, seen, y, components.vectors, config.model, config.leading_share)
    drawn = jax.random.normal(key_others, (2, config.num_others, seen.shape[-1]))
    return State(begun, jnp.stack([drawn[0], drawn[1] * _whitening(components.eigenvalues)[None] @ components.vectors.T]))


def step(state: State, config: Config) -> State:
    return state._replace(training=_training.step(state.training))


def observe(state: State, config: Config) -> Result:
    """From the responses at every place, filter by filter."""
    trained = state.training
    banks = [jnp.eye(trained.patches.shape[-1])[_centre(config)], state.others[0], linear_cnn.bank(trained.params)]
    found = []
    for bank in (*banks, state.others[1]):
        y = linear_cnn.responses(bank, trained.patches)
        power = jnp.mean(y**2)
        found.append(_over_distances(lambda here, there: jnp.sum(here * there), y, config) / (power * y.shape[-1]))
    return Result(jnp.stack(found))


def steps(config: Config) -> np.ndarray:
    return _training.recorded(config.recorded)


def predict(state: State, config: Config, steps: np.ndarray) -> Result:
    trained = state.training
    data = _training.moments(trained.patches, trained.y)
    start = linear_cnn.bank(trained.params)
    filters = first_layer.trained_filters(steps, data.covariance, data.correlation, start, trained.learning_rate)
    learned = jnp.einsum("tkd,tke->tde", filters, filters)
    random, white = jnp.einsum("bkd,bke->bde", state.others, state.others)
    return _predicted(trained.patches, random, learned, white, config)


def predict_mean(state: State, config: Config, steps: np.ndarray) -> Result:
    """From the mean of the second moment of the filters over labels and starts, for the same images."""
    trained, model = state.training, config.model
    A = _training.moments(trained.patches, trained.y).covariance
    learned = first_layer.expected_moment(
        steps, A, model.num_filters, model.init_scale, 1.0, config.num_images, trained.learning_rate
    )
    return _predicted(trained.patches, jnp.eye(len(A)), learned, None, config)


def predict_end(state: State, config: Config, steps: np.ndarray) -> Result:
    """The same after infinitely many updates."""
    return predict_mean(state, config, np.full(len(steps), np.inf))


def _predicted(
    seen: _training.Patches,
    random: Float[Array, "weight weight"],
    learned: Float[Array, "step weight weight"],
    white: Float[Array, "weight weight"] | None,
    config: Config,
) -> Result:
    """From the second moments of the banks and the covariance of patches apart."""
    flat = seen.reshape(-1, seen.shape[-1])
    covariance = flat.T @ flat / len(flat)
    lagged = _over_distances(lambda here, there: jnp.einsum("nijd,nije->de", here, there), seen, config)
    pixels = jnp.diag(jnp.zeros(len(covariance)).at[_centre(config)].set(1.0))
    if white is None:
        whitened = theory.whitened_autocorrelation(lagged, covariance)
    else:
        whitened = theory.response_autocorrelation(white, lagged, covariance)

    def all_banks(moment: Float[Array, "weight weight"]) -> Float[Array, "bank distance"]:
        plain, drawn, trained = (theory.response_autocorrelation(one, lagged, covariance) for one in (pixels, random, moment))
        return jnp.stack([plain, drawn, trained, whitened])

    return Result(jax.lax.map(all_banks, learned))


def _whitening(eigenvalues: Float[Array, "component"]) -> Float[Array, "component"]:
    """1/lambda, and 0 where that is rounding."""
    there = eigenvalues > len(eigenvalues) * jnp.finfo(eigenvalues.dtype).eps * eigenvalues[0]
    return jnp.where(there, 1 / jnp.sqrt(jnp.where(there, eigenvalues, 1)), 0)


def _patches(config: Config) -> _training.Patches:
    return _training.patches(_training.load("photographs", config.num_images, config.crop_side)[0], config.model.side)


def _centre(config: Config) -> np.ndarray:
    """The weights of the pixel in the middle of a filter, a colour each."""
    side, channels = config.model.side, config.model.channels
    return channels * (side // 2 * side + side // 2) + np.arange(channels)


def _over_distances(
    product_fn, values: Float[Array, "image row column part"], config: Config
) -> Float[Array, "distance *product"]:
    """The mean over pairs of places, of their product summed over images: pairs along columns and pairs along rows alike."""
    size = values.shape[1]
    place = jnp.arange(size)

    def at(distance: Array) -> Array:
        along = []
        for turned in (values, jnp.swapaxes(values, 1, 2)):
            here = jnp.where((place < size - distance)[None, :, None, None], turned, 0)
            along.append(product_fn(here, jnp.roll(turned, -distance, axis=1)))
        pairs = 2 * len(values) * size * (size - distance)
        return (along[0] + along[1]) / pairs.astype(values.dtype)

    return jax.lax.map(at, jnp.arange(config.max_distance + 1))


_EXACT = "the prediction is exact: float64's rounding, times up to 1e5 where strong components cancel in weak ones"
TOLERANCE = {"autocorrelation": Tolerance(0, 1e-8, reason=_EXACT)}
QUICK = {"model.side": 2, "model.num_filters": 2, "num_images": 8, "recorded": (5,), "num_others": 2, "max_distance": 3}
SEEDS = 16
