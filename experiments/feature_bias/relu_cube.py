r"""A ReLU network that computes an easy and a hard feature equally well holds more of the easy one, by known shares.

Two outputs, $x_1$ and $x_2 x_3$, on the cube of signs. From a small balanced start the network ends at the fit of smallest path
norm, with two units for the first and four for the second output. The share of a feature is the part of the hidden variance
that a regression of the units on it explains. The hard feature needs $x_2$ and $x_3$ as well, with the same share each. Beside
it, without a prediction: starts of larger scale, from the same directions, where the hard feature has less.

$$
\text{share}(x_1) = \frac{1}{2 V}, \qquad \text{share}(x_2 x_3) = \frac{1}{2 \sqrt 2\, V}, \qquad
V = \frac{1}{2} + \frac{3}{2 \sqrt 2}, \qquad \sum_j \|a_j\| \|w_j\| = 2 + 2 \sqrt 2
$$

for targets of the scale 1.

Source: derived here; the question is of Lampinen, Chan and Hermann, arXiv 2405.05847 (about 55 % for an easy and 5 % for a hard
feature reported there, read in summaries)
Cost: 14 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Tolerance, check
from ...models.fully_connected import balanced_relu, representation
from ...theory.feature_learning import feature_bias
from . import _relu


@dataclass(frozen=True)
class Config:
    model: balanced_relu.Config = field(default_factory=lambda: balanced_relu.Config(width=256, init_scale=1e-3))
    larger_scales: tuple[Positive, ...] = (0.03, 0.3, 1.0)  # norms of w_j and a_j at the start of the networks beside it
    easy_scale: Positive = 1.0  # of the target x_1 (t_1)
    hard_scale: Positive = 1.0  # of the target x_2 x_3 (t_2)
    learning_rate: Positive = 0.05  # step size on half of the squared error; 1/(width scale^2) at most
    num_steps: Count = 6000  # updates

    def __post_init__(self):
        check(self)
        _relu.check_model(self.model)


class State(NamedTuple):
    params: balanced_relu.Params  # of all scales on a leading axis, the smallest first


class Result(NamedTuple):
    shares: Float[Array, "feature"]  # of the hidden variance, from the start of scale model.init_scale
    variance: Float[Array, ""]  # of the hidden units, summed (V)
    path_norm: Float[Array, ""]  # sum of |a_j||w_j|
    scale_shares: Float[Array, "scale feature"] | None = None  # from all starts
    losses: Float[Array, "scale output"] | None = None  # half of the mean squared error, at the end


def labels(config: Config) -> dict[str, tuple]:
    return {"feature": _relu.NAMES, "scale": (config.model.init_scale, *config.larger_scales), "output": _relu.NAMES[:2]}


def init(key: PRNGKeyArray, config: Config) -> State:
    params = balanced_relu.init(key, config.model)
    factors = _scales(config) / config.model.init_scale
    return State(jax.tree.map(lambda p: factors[:, None, None] * p[None], params))


def step(state: State, config: Config) -> State:
    targets, rates = _targets(config), _relu.stable_rate(config.learning_rate, config.model.width, _scales(config))
    both = jnp.ones_like(targets)
    return State(jax.vmap(lambda params, rate: _relu.descend(params, targets, both, rate))(state.params, rates))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    shares = jax.vmap(_relu.shares)(state.params)
    losses = jax.vmap(lambda params: _relu.losses(params, _targets(config)))(state.params)
    first = jax.tree.map(lambda p: p[0], state.params)
    return Result(shares[0], representation.variance(_relu.hidden(first)), balanced_relu.path_norm(first), shares, losses)


def predict(config: Config) -> Result:
    found = feature_bias.relu_cube_shares(config.easy_scale, config.hard_scale)
    shares = jnp.stack([found.easy, found.hard, found.intermediate, found.intermediate])
    return Result(shares, found.variance, found.path_norm)


def _scales(config: Config) -> Float[Array, "scale"]:
    scales = (config.model.init_scale, *config.larger_scales)
    return jnp.stack([jnp.asarray(scale, float) for scale in scales])


def _targets(config: Config) -> Float[Array, "output"]:
    return jnp.stack([jnp.asarray(config.easy_scale, float), jnp.asarray(config.hard_scale, float)])


_LIMIT = "a finite number of units, some of which start between two of the six directions and stay there, and steps of 0.05"
TOLERANCE = {
    "shares": Tolerance(0, 2e-3, reason=_LIMIT),
    "variance": Tolerance(5e-3, reason=_LIMIT),
    "path_norm": Tolerance(5e-3, reason=_LIMIT),
}
QUICK = {"model.width": 16, "larger_scales": (0.3,), "num_steps": 20}
SEEDS = 16
