r"""On Gaussian clusters tanh and ReLU networks pass through the same two phases: features become alike, then apart by class.

Full-batch gradient descent on half the squared error of one-hot classes, from small weights. The clusters have a mean in
common. Loss, mean cosine of the features of the last hidden layer over all pairs and over pairs of two classes, and accuracy
are measured, without a verdict: the theory is for linear networks. All that is predicted is chance. Of ReLU networks the
samples count whose features are not 0.

$$
\text{mean cosine} = \frac{1}{n^2} \sum_{i,j} \frac{h_i \cdot h_j}{|h_i|\, |h_j|}
$$

Source: after Liu et al., arXiv 2112.00980, whose networks and data are others
Cost: 15 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Precision, Tolerance, check
from ...models.fully_connected import deep
from ...models.linear import rank_one


@dataclass(frozen=True)
class Config:
    model: deep.Config = field(
        default_factory=lambda: deep.Config(dim=12, widths=(16, 16, 16), num_outputs=3, weight_variance=0.05)
    )  # an output for each class
    samples_per_class: Count = 40  # training samples
    mean: NonNegative = 2.0  # that the clusters have in common, along the first coordinate, in standard deviations
    separation: NonNegative = 3.0  # of the mean of each class from it, along a coordinate of its own
    learning_rate: Positive = 0.05  # step size
    num_steps: Count = 5000  # updates
    num_records: Count = 40  # times of a record, evenly spaced in their logarithm
    dtype: Precision = "float64"  # features are small at first

    def __post_init__(self):
        check(self)
        if self.model.depth == 0:
            raise ValueError("model.widths must be at least one hidden layer, got ()")
        if self.model.dim <= self.model.num_outputs:
            raise ValueError(f"model.dim must be above model.num_outputs = {self.model.num_outputs}, got {self.model.dim}")


class State(NamedTuple):
    params: deep.Params
    inputs: Float[Array, "sample dim"]
    classes: Int[Array, "sample"]


class Result(NamedTuple):
    chance: Float[Array, ""]  # share classified right, mean over cyclic exchanges of the outputs
    loss: Float[Array, ""] | None = None  # half the mean squared error
    cosine: Float[Array, ""] | None = None  # mean over all pairs of samples
    cosine_between: Float[Array, ""] | None = None  # mean over pairs of two classes
    accuracy: Float[Array, ""] | None = None  # share of training samples classified right


def init(key: PRNGKeyArray, config: Config) -> State:
    key_model, key_data = jax.random.split(key)
    classes = jnp.repeat(jnp.arange(config.model.num_outputs), config.samples_per_class)
    inputs = jax.random.normal(key_data, (len(classes), config.model.dim)).at[:, 0].add(config.mean)
    inputs = inputs.at[jnp.arange(len(classes)), 1 + classes].add(config.separation)
    return State(deep.init(key_model, config.model), inputs, classes)


def _layers(params: deep.Params, inputs: Float[Array, "sample dim"], config: Config) -> tuple[Array, ...]:
    return jax.vmap(lambda x: deep.preactivations(params, x, config.model))(inputs)


def _loss(outputs: Float[Array, "sample class"], state: State) -> Float[Array, ""]:
    return jnp.mean(jnp.sum((outputs - jax.nn.one_hot(state.classes, outputs.shape[1], dtype=outputs.dtype)) ** 2, axis=1)) / 2


def step(state: State, config: Config) -> State:
    slope = jax.grad(lambda params: _loss(_layers(params, state.inputs, config)[-1], state))(state.params)
    return state._replace(params=jax.tree.map(lambda w, g: w - config.learning_rate * g, state.params, slope))


def observe(state: State, config: Config) -> Result:
    *_, last, outputs = _layers(state.params, state.inputs, config)
    features = deep.activation_fn(config.model.activation)(last)
    units, active = rank_one.unit_features(features)
    # sums over the samples of each class; pairs of two classes are all pairs but those within a class
    classes = jax.nn.one_hot(state.classes, outputs.shape[1], dtype=units.dtype)
    sums, counts = classes.T @ units, classes.T @ active.astype(units.dtype)
    pairs = jnp.sum(counts) ** 2 - jnp.sum(counts**2)
    between = (jnp.sum(jnp.sum(sums, axis=0) ** 2) - jnp.sum(sums**2)) / jnp.maximum(pairs, 1)
    # shares of samples to which each class is given, by how far it is from theirs
    shift = (jnp.argmax(outputs, axis=1) - state.classes) % outputs.shape[1]
    shares = jnp.mean(jax.nn.one_hot(shift, outputs.shape[1], dtype=units.dtype), axis=0)
    loss = _loss(outputs, state)
    return Result(jnp.mean(shares), loss, rank_one.mean_pair_cosine(features), between, shares[0])


def steps(config: Config) -> np.ndarray:
    return np.unique([0, *np.geomspace(1, config.num_steps, config.num_records).round().astype(int)])


def predict(config: Config, steps: np.ndarray) -> Result:
    return Result(jnp.full(len(steps), 1 / config.model.num_outputs))


TOLERANCE = {"chance": Tolerance(1e-12, reason="exact: a sample is classified right for one of the exchanges")}
QUICK = {
    "model.dim": 4,
    "model.widths": (3, 3),
    "model.num_outputs": 2,
    "samples_per_class": 4,
    "num_steps": 20,
    "num_records": 3,
}
SEEDS = 8
GRID = {"model.activation": ("tanh", "relu")}
