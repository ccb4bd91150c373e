"""What the experiments share: centred images, components, labels, the descent of the linear network, what theory is told."""

from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Gt, Le, Lt, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Distinct
from ...models.convolutional import linear_cnn
from ...tasks import images, photographs
from ...theory.linear_networks import first_layer

STRIDE = 16  # pixels between the corners of two crops of a photograph
CropSide = Annotated[int, Ge(1), Le(32)]  # as far as there are as many crops as digits
Data = Literal["digits_8x8", "photographs"]
NumImages = Annotated[int, Ge(2), Le(1797)]  # as many digits as there are; of crops there are some more
Arrangement = Literal["images", "shuffled"]
Steps = Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1), Distinct]
LeadingShare = Annotated[float, Gt(0), Lt(2)]  # descent is stable below 2

Patches = Float[Array, "image row column weight"]


class State(NamedTuple):
    """A network in training, or several of them: then with a leading axis in `params` and `y`."""

    params: linear_cnn.Params
    patches: Patches  # of the images that the network is trained on
    y: Float[Array, "*network image"]  # labels, -1 or 1
    vectors: Float[Array, "weight component"]  # in which energies are measured: principal components of the patches
    learning_rate: Float[Array, ""]


class Moments(NamedTuple):
    """What theory is told of the data."""

    covariance: Float[Array, "weight weight"]  # of the average patch of an image
    correlation: Float[Array, "weight"]  # with the label
    label_power: Float[Array, ""]  # mean square of the labels


def check_model(model: linear_cnn.Config, data: str, crop_side: int = 32) -> None:
    """Raise ValueError for filters that do not fit the images."""
    channels, side = (1, 8) if data == "digits_8x8" else (3, crop_side)
    if model.channels != channels:
        raise ValueError(f"model.channels must be {channels} for {data}, got {model.channels}")
    if model.side > side:
        raise ValueError(f"model.side must be at most {side}, the images of {data}, got {model.side}")


def load(
    data: str, num_images: int, crop_side: int = 32
) -> tuple[Float[Array, "image height width channel"], Float[Array, "image"]]:
    """Images from 0 to 1 less their mean, and labels: 1 for digits from 5 on or crops of the second photograph, else -1."""
    if data == "digits_8x8":
        found = images.load(data)
        chosen = np.arange(num_images)
        pixels, full = found.pixels.reshape(-1, found.side, found.side, 1), found.full
        positive = found.labels >= 5
    else:
        crops = photographs.crops(crop_side, STRIDE)
        chosen = np.arange(num_images) * len(crops.labels) // num_images  # evenly from both photographs
        pixels, full, positive = crops.pixels, 255, crops.labels == 1
    # behind a barrier, for else XLA computes with these constants while it compiles, for seconds
    x = jax.lax.optimization_barrier(jnp.asarray(pixels[chosen])).astype(jnp.result_type(float)) / full
    y = jnp.where(jnp.asarray(positive[chosen]), 1.0, -1.0)
    return x - jnp.mean(x, axis=0, keepdims=True), y


def patches(x: Float[Array, "image height width channel"], side: int) -> Patches:
    return jax.vmap(lambda image: linear_cnn.patches(image, side))(x)


def arranged(seen: Patches, arrangement: str) -> Patches:
    """The patches as they are in the images, or after each has changed places with one of any image: the same in every run."""
    if arrangement == "images":
        return seen
    return jax.random.permutation(jax.random.key(0, impl="threefry2x32"), seen.reshape(-1, seen.shape[-1])).reshape(seen.shape)


def random_labels(key: PRNGKeyArray, num_images: int) -> Float[Array, "image"]:
    return jax.random.rademacher(key, (num_images,), dtype=jnp.result_type(float))


def begin(
    key: PRNGKeyArray,
    seen: Patches,
    y: Float[Array, "image"],
    vectors: Float[Array, "weight component"],
    model: linear_cnn.Config,
    leading_share: float,
) -> State:
    """The network before its first update."""
    rate = learning_rate(leading_share, moments(seen, y).covariance, model.num_filters)
    return State(linear_cnn.init(key, model), seen, y, vectors, rate)


def begin_networks(
    key: PRNGKeyArray,
    num_networks: int,
    seen: Patches,
    vectors: Float[Array, "weight component"],
    model: linear_cnn.Config,
    leading_share: float,
) -> State:
    """Several networks before their first update, each with random labels and weights of its own."""

    def one(key: PRNGKeyArray) -> tuple[linear_cnn.Params, Float[Array, "image"]]:
        key_labels, key_model = jax.random.split(key)
        return linear_cnn.init(key_model, model), random_labels(key_labels, len(seen))

    params, y = jax.vmap(one)(jax.random.split(key, num_networks))
    rate = learning_rate(leading_share, moments(seen, y[0]).covariance, model.num_filters)
    return State(params, seen, y, vectors, rate)


def learning_rate(leading_share: float, covariance: Float[Array, "weight weight"], num_filters: int) -> Float[Array, ""]:
    """The step size at which the first update learns a given share of the leading component of the average patch."""
    return leading_share / (2 * num_filters * jnp.linalg.eigvalsh(covariance)[-1])


def moments(seen: Patches, y: Float[Array, "image"]) -> Moments:
    average = jnp.mean(seen, axis=(1, 2))
    return Moments(average.T @ average / len(y), average.T @ y / len(y), jnp.mean(y**2))


def loss(params: linear_cnn.Params, seen: Patches, y: Float[Array, "image"]) -> Float[Array, ""]:
    """Mean squared error."""
    return jnp.mean((y - jax.vmap(linear_cnn.pooled, (None, 0))(params, seen)) ** 2)


def descend(params: linear_cnn.Params, seen: Patches, y: Float[Array, "image"], rate: Float[Array, ""]) -> linear_cnn.Params:
    """One update on all images."""
    gradient = jax.grad(loss)(params, seen, y)
    return jax.tree.map(lambda p, g: p - rate * g, params, gradient)


def step(state: State) -> State:
    return state._replace(params=descend(state.params, state.patches, state.y, state.learning_rate))


def step_networks(state: State) -> State:
    update_fn = jax.vmap(lambda params, y: descend(params, state.patches, y, state.learning_rate))
    return state._replace(params=update_fn(state.params, state.y))


def energies(state: State) -> Float[Array, "component"]:
    return linear_cnn.energies(linear_cnn.bank(state.params), state.vectors)


def mean_energies(state: State) -> Float[Array, "component"]:
    """Over several networks."""
    return jnp.mean(jax.vmap(lambda params: linear_cnn.energies(linear_cnn.bank(params), state.vectors))(state.params), axis=0)


def paper_energies(
    steps: np.ndarray, eigenvalues: Float[Array, "component"], seen: Patches, rate: Float[Array, ""], num_filters: int
) -> Float[Array, "step component"]:
    """e_i^2 by the paper's formula, from eigenvalues of the patches, with the factor that uncorrelated patches give it."""
    places = seen.shape[1] * seen.shape[2]
    profile = first_layer.patch_profile(steps, eigenvalues, 2 * rate * num_filters / places)
    return places / len(seen) / num_filters**2 * profile**2


def recorded(steps: tuple[int, ...]) -> np.ndarray:
    return np.array(sorted(steps))
