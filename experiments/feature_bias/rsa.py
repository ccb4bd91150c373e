r"""The dissimilarity matrix of a ReLU network follows its shares, and a network of both features looks most like the easy one.

Three networks are trained on $x_1$, on $x_2 x_3$, and on both. The squared distances between their hidden activities are
correlated with each other's and with the distances in either feature. If the kernel is a sum over features with the shares
$s_i$, the correlation of two matrices is that of the shares,

$$
r = \frac{\sum_i s_i s_i'}{\sqrt{\sum_i s_i^2 \sum_i s_i'^2}}
$$

with $s = (1, 0, 0, 0)$ for $x_1$, $(0, 1, 0, 0)$ for $x_2 x_3$, $(0, \frac{1}{3}, \frac{1}{3}, \frac{1}{3})$ for the network
trained on $x_2 x_3$, which holds $x_2$ and $x_3$ as well, and $(0.3204, 0.2265, 0.2265, 0.2265)$ for the network of both.

Source: derived here; that representational similarity misleads is of Lampinen, Chan and Hermann, arXiv 2405.05847 (abstract
read)
Cost: 12 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Tolerance, check
from ...models.fully_connected import balanced_relu, representation
from ...tasks import boolean_features
from ...theory.feature_learning import feature_bias
from . import _relu

NETWORKS = ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))  # the outputs that each is trained on
NAMES = ("trained on x1", "trained on x2 x3", "trained on both", "x1", "x2 x3")


@dataclass(frozen=True)
class Config:
    model: balanced_relu.Config = field(default_factory=lambda: balanced_relu.Config(width=256, init_scale=1e-3))
    learning_rate: Positive = 0.05  # step size on half of the squared error
    num_steps: Count = 6000  # updates

    def __post_init__(self):
        check(self)
        _relu.check_model(self.model)


class State(NamedTuple):
    params: balanced_relu.Params  # of the three networks on a leading axis


class Result(NamedTuple):
    correlation: Float[Array, "representation other"]  # of the matrices of squared distances
    shares: Float[Array, "network feature"]  # of the hidden variance
    losses: Float[Array, "network output"] | None = None  # half of the mean squared error of both outputs, trained or not


def labels(config: Config) -> dict[str, tuple]:
    return {
        "representation": NAMES,
        "other": NAMES,
        "network": NAMES[: len(NETWORKS)],
        "feature": _relu.NAMES,
        "output": _relu.NAMES[:2],
    }


def init(key: PRNGKeyArray, config: Config) -> State:
    keys = jax.random.split(key, len(NETWORKS))
    return State(jax.vmap(lambda key: balanced_relu.init(key, config.model))(keys))


def step(state: State, config: Config) -> State:
    trained = jnp.asarray(NETWORKS, state.params.w.dtype)
    ones = jnp.ones_like(trained[0])
    return State(jax.vmap(lambda p, on: _relu.descend(p, ones, on, config.learning_rate))(state.params, trained))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    hidden = jax.vmap(_relu.hidden)(state.params)
    features = boolean_features.evaluate(_relu.TARGETS, boolean_features.cube(config.model.dim)).T
    alone = jnp.zeros((len(features), *hidden.shape[1:])).at[:, :, 0].set(features)  # one unit of activity, the others 0
    distances = jax.vmap(representation.dissimilarities)(jnp.concatenate([hidden, alone]))
    correlation = jnp.corrcoef(distances.reshape(len(distances), -1))
    losses = jax.vmap(lambda params: _relu.losses(params, jnp.ones(len(_relu.TARGETS))))(state.params)
    return Result(correlation, jax.vmap(_relu.shares)(state.params), losses)


def predict(config: Config) -> Result:
    networks = [feature_bias.relu_cube_shares(*scales) for scales in NETWORKS]
    shares = jnp.stack([jnp.stack([one.easy, one.hard, one.intermediate, one.intermediate]) for one in networks])
    rows = jnp.concatenate([shares, jnp.eye(len(_relu.FEATURES), dtype=shares.dtype)[: len(_relu.TARGETS)]])
    signs = jnp.ones_like(rows[0])  # the kurtosis of each feature
    pair_fn = jax.vmap(lambda one, other: feature_bias.dissimilarity_correlation(one, other, signs), (None, 0))
    return Result(jax.vmap(pair_fn, (0, None))(rows, rows), shares)


_LIMIT = "a finite number of units, of which some stay between the directions of the limit, and steps of 0.05"
TOLERANCE = {
    "correlation": Tolerance(0, 4e-3, reason=_LIMIT),
    "shares": Tolerance(0, 2e-3, reason=_LIMIT),
}
QUICK = {"model.width": 16, "num_steps": 20}
SEEDS = 16
