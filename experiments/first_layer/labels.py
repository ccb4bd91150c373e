r"""Random labels draw the first layer to much the same components of the patches as true labels do.

Crops of two photographs, labelled by the photograph they are of or by a fair coin. The linear network follows its closed form
for either labels, and so does the similarity of the two profiles, which is no law: it depends on the crops. Beside it a
network with ReLU units and a trained readout, of which no profile is predicted: how similar its filters are for the two kinds
of labels, to their own start, and to the paper's formula at the time that fits best.

$$
e_i^2 = \frac{1}{K} \sum_k (w_k \cdot u_i)^2, \qquad
w_k(t) = w_k(0) + \frac{1}{K} V \operatorname{diag}(g)\, V^\top (A^{-1} b - s_0), \qquad g_i = 1 - (1 - 2 \eta K a_i)^t
$$

with principal components $u_i$ of the patches, the covariance $A = V \operatorname{diag}(a) V^\top$ of the average patch, its
correlation $b$ with the labels and the sum $s_0$ of the filters at the start. The similarity is the correlation of the profiles
$e$ over the components.

Source: Chowers and Weiss, arXiv 2206.02454, figure 3 and table 2 for the question (similarities of 0.90 to 0.96 reported
there for deep networks on CIFAR and CelebA); the prediction and the runs are ours
Cost: 30 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...contract import Count, Positive, Precision, Tolerance, check
from ...models.convolutional import linear_cnn, relu_cnn
from ...solvers import classify
from ...tasks import images
from ...theory.linear_networks import first_layer
from . import _training

LABELS = ("photograph", "random")


@dataclass(frozen=True)
class Config:
    linear: linear_cnn.Config = field(default_factory=lambda: linear_cnn.Config(channels=3, num_filters=8, init_scale=0.01))
    relu: relu_cnn.Config = field(default_factory=lambda: relu_cnn.Config(channels=3, num_filters=32, num_classes=2))
    num_images: _training.NumImages = 64  # crops of photographs (N)
    crop_side: _training.CropSide = 8  # pixels along an edge of a crop
    leading_share: _training.LeadingShare = 0.9  # of the leading component that the first update learns, 2 eta K a_1
    relu_rate: Positive = 0.3  # step size of the network with ReLU units, on its cross-entropy
    batch_size: Count = 32  # crops a step of that network, drawn with replacement
    num_steps: Count = 3000  # updates of both networks
    dtype: Precision = "float64"  # the prediction is exact

    def __post_init__(self):
        check(self)
        for model in (self.linear, linear_cnn.Config(self.relu.channels, self.relu.side)):
            _training.check_model(model, "photographs", self.crop_side)
        if self.relu.num_classes != len(LABELS):
            raise ValueError(f"relu.num_classes must be {len(LABELS)}, got {self.relu.num_classes}")


class State(NamedTuple):
    """Both networks, for either labels on a leading axis."""

    start: linear_cnn.Params  # before training
    linear: linear_cnn.Params
    relu_start: relu_cnn.Params  # before training
    relu: relu_cnn.Params
    y: Float[Array, "label image"]
    learning_rate: Float[Array, ""]  # of the linear network
    key: PRNGKeyArray  # of the next batch


class Result(NamedTuple):
    energies: Float[Array, "label component"]  # e_i^2 of the linear network
    similarity: Float[Array, ""]  # of its profiles for the two kinds of labels
    relu_energies: Float[Array, "label relu_component"] | None = None  # e_i^2 of the network with ReLU units
    relu_similarity: Float[Array, ""] | None = None  # of its profiles for the two kinds of labels
    relu_start_similarity: Float[Array, "label"] | None = None  # of its profile after and before training
    relu_formula: Float[Array, "label"] | None = None  # similarity of its profile with the paper's formula, at the best time
    relu_accuracy: Float[Array, "label"] | None = None  # share of its training crops that it classifies right


def labels(config: Config) -> dict[str, tuple]:
    return {"label": LABELS}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_labels, key_linear, key_relu, key_batch = jax.random.split(key, 4)
    x, photograph = _training.load("photographs", config.num_images, config.crop_side)
    y = jnp.stack([photograph, _training.random_labels(key_labels, config.num_images)])
    linear = jax.vmap(lambda key: linear_cnn.init(key, config.linear))(jax.random.split(key_linear, len(LABELS)))
    relu = jax.vmap(lambda key: relu_cnn.init(key, config.relu))(jax.random.split(key_relu, len(LABELS)))
    covariance = _training.moments(_training.patches(x, config.linear.side), photograph).covariance
    rate = _training.learning_rate(config.leading_share, covariance, config.linear.num_filters)
    return State(linear, linear, relu, relu, y, rate, key_batch)


def step(state: State, config: Config) -> State:
    x, _ = _training.load("photographs", config.num_images, config.crop_side)
    seen = _training.patches(x, config.linear.side)
    linear = jax.vmap(lambda params, y: _training.descend(params, seen, y, state.learning_rate))(state.linear, state.y)
    key, key_batch = jax.random.split(state.key)
    batch = jax.random.choice(key_batch, config.num_images, (config.batch_size,))

    def descend(params: relu_cnn.Params, classes: Int[Array, "image"]) -> relu_cnn.Params:
        gradient = jax.grad(lambda params: classify.cross_entropy(_logits(params, x[batch]), classes[batch]))(params)
        return jax.tree.map(lambda p, g: p - config.relu_rate * g, params, gradient)

    relu = jax.vmap(descend)(state.relu, _classes(state.y))
    return state._replace(linear=linear, relu=relu, key=key)


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    x, _ = _training.load("photographs", config.num_images, config.crop_side)
    vectors = _components(x, config.linear.side).vectors
    energies = jax.vmap(lambda params: linear_cnn.energies(linear_cnn.bank(params), vectors))(state.linear)
    components = _components(x, config.relu.side)
    now, before = (
        jax.vmap(lambda params: linear_cnn.energies(relu_cnn.bank(params), components.vectors))(params)
        for params in (state.relu, state.relu_start)
    )
    times = 10.0 ** jnp.linspace(-2, 8, 101) / components.eigenvalues[0]
    formula = jax.vmap(lambda e: first_layer.fitted_time(e, jnp.maximum(components.eigenvalues, 0), times).similarity)(
        jnp.sqrt(now)
    )
    return Result(
        energies,
        _similarity(*jnp.sqrt(energies)),
        now,
        _similarity(*jnp.sqrt(now)),
        jax.vmap(_similarity)(jnp.sqrt(now), jnp.sqrt(before)),
        formula,
        jax.vmap(images.accuracy)(jax.vmap(_logits, (0, None))(state.relu, x), _classes(state.y)),
    )


def predict(state: State, config: Config) -> Result:
    x, _ = _training.load("photographs", config.num_images, config.crop_side)
    seen = _training.patches(x, config.linear.side)
    vectors = _components(x, config.linear.side).vectors

    def one(start: linear_cnn.Params, y: Float[Array, "image"]) -> Float[Array, "component"]:
        data = _training.moments(seen, y)
        filters = first_layer.trained_filters(
            config.num_steps, data.covariance, data.correlation, linear_cnn.bank(start), state.learning_rate
        )
        return first_layer.energies(filters, vectors)

    energies = jax.vmap(one)(state.start, state.y)
    return Result(energies, first_layer.similarity(*jnp.sqrt(energies)))


def _components(x: Float[Array, "image height width channel"], side: int) -> linear_cnn.Components:
    return linear_cnn.principal_components(_training.patches(x, side))


def _logits(params: relu_cnn.Params, x: Float[Array, "image height width channel"]) -> Float[Array, "image class"]:
    return jax.vmap(relu_cnn.apply, (None, 0))(params, x)


def _classes(y: Float[Array, "label image"]) -> Int[Array, "label image"]:
    return (y > 0).astype(int)


def _similarity(profile: Float[Array, "component"], other: Float[Array, "component"]) -> Float[Array, ""]:
    return jnp.corrcoef(profile, other)[0, 1]


_EXACT = "the prediction is exact: float64's rounding over the updates"
TOLERANCE = {
    "energies": Tolerance(1e-8, reason=_EXACT),
    "similarity": Tolerance(0, 1e-8, reason=_EXACT),
}
QUICK = {
    "linear.side": 2,
    "linear.num_filters": 2,
    "relu.side": 2,
    "relu.num_filters": 4,
    "num_images": 8,
    "crop_side": 8,
    "batch_size": 4,
    "num_steps": 3,
}
SEEDS = 8
