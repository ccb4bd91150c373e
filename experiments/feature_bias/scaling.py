r"""A trained linear network holds two features in the ratio of a power of their targets, which is higher in later layers.

Two features of equal variance, with the targets $t_1$ and $t_2 = 1$, learned by $L$ layers from small Gaussian weights. Their
shares of the explained variance at layer $l$ have the ratio

$$
\frac{\text{share}_1}{\text{share}_2} = \left( \frac{t_1}{t_2} \right)^{2 l/L}
$$

and equal targets have equal shares. Complexity and learning order do not enter: this is what biases of ReLU networks are
compared with.

Source: derived here; the question is of Lampinen, Chan and Hermann, arXiv 2405.05847
Cost: 14 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Precision, Tolerance, check
from ...models.linear import deep_linear
from ...theory.linear_networks import modes
from . import _linear


@dataclass(frozen=True)
class Config:
    target_ratio: Positive = 2.0  # t_1, with t_2 = 1
    dim: Count = 10  # input dimension
    width: Count = 16  # units of every hidden layer
    depth: _linear.Depth = 3  # layers of weights (L)
    init_scale: Positive = 0.1  # weights start as N(0, init_scale^2/inputs of the layer) (a)
    learning_rate: Positive = 0.02  # step size on half of the squared error
    num_steps: Count = 3000  # updates
    dtype: Precision = "float32"  # enough for shares within 1 %

    def __post_init__(self):
        check(self)
        if min(self.dim, self.width) < 2:
            raise ValueError(f"dim and width must be at least 2, for two features; got {self.dim} and {self.width}")


class State(NamedTuple):
    params: deep_linear.Params
    task: _linear.Task


class Result(NamedTuple):
    share_ratio: Float[Array, "place"]  # of the explained variance, first feature over second
    losses: Float[Array, "feature"] | None = None  # half of the squared error that is left of each feature in its own output


def labels(config: Config) -> dict[str, tuple]:
    return {"place": _linear.PLACES}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_basis, key_model = jax.random.split(key)
    basis = jax.random.orthogonal(key_basis, config.dim)
    sizes = config.dim, *(config.width,) * (config.depth - 1), 2
    start = _linear.start(key_model, sizes, "gaussian", config.init_scale)
    return State(start, _linear.task(basis, _targets(config), jnp.ones(2)))


def step(state: State, config: Config) -> State:
    return state._replace(params=_linear.descend(state.params, state.task, config.learning_rate))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    shares = _linear.shares(state.params, state.task)
    return Result(shares[:, 0] / shares[:, 1], (_targets(config) - _linear.strengths(state.params, state.task)) ** 2 / 2)


def predict(config: Config) -> Result:
    shares = [modes.layer_share(_targets(config), jnp.ones(2), layer, config.depth) for layer in (1, config.depth - 1)]
    return Result(jnp.stack([share[0] / share[1] for share in shares]))


def _targets(config: Config) -> Float[Array, "feature"]:
    return jnp.stack([jnp.asarray(config.target_ratio, float), jnp.ones(())])


TOLERANCE = {
    "share_ratio": Tolerance(
        0.01, reason="weights of the start stay in the layers: of order init_scale^2 = 0.01 beside what is learned"
    ),
}
QUICK = {"dim": 3, "width": 4, "depth": 2, "num_steps": 40}
SEEDS = 8
GRID = {"depth": (2, 3), "target_ratio": (1.0, 2.0, 4.0)}
