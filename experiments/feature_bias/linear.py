r"""In a deep linear network early training favours the strong feature, and the end of training less so.

Targets $y_i = t_i f_i$, features of variance $p_i$ along random orthogonal directions, and a start that is aligned with them.
The strength $u_i$ of every feature follows an equation of its own; the share of feature $i$ in the hidden variance at layer
$l$ of $L$ is then known at every time.

$$
\frac{du_i}{dt} = L\, u_i^{2 - 2/L} p_i (t_i - u_i), \qquad
\text{share}_i = \frac{u_i^{2 l/L} p_i}{\sum_j u_j^{2 l/L} p_j}
$$

In the end only $t_i$ and $p_i$ count, whatever was learned first: a linear network of equal targets and variances is unbiased.

Source: derived here from the modes of deep linear networks; the question is of
Lampinen, Chan and Hermann, arXiv 2405.05847
Cost: 15 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Precision, Tolerance, check
from ...models.linear import deep_linear
from ...theory.linear_networks import modes
from . import _linear


@dataclass(frozen=True)
class Config:
    targets: Annotated[tuple[Positive, ...], MinLen(1)] = (2.0, 1.0)  # factors of the features in their outputs (t)
    variances: Annotated[tuple[Positive, ...], MinLen(1)] = (1.0, 1.0)  # of the features (p)
    dim: Count = 6  # input dimension
    width: Count = 8  # units of every hidden layer
    depth: _linear.Depth = 3  # layers of weights (L)
    init_scale: Positive = 0.3  # every layer starts as this multiple of the identity (a_0)
    learning_rate: Positive = 2e-3  # step size on half of the squared error
    num_steps: Count = 4500  # updates
    num_records: Count = 50  # times of a record, evenly spaced
    dtype: Precision = "float64"  # the prediction is exact but for the steps

    def __post_init__(self):
        check(self)
        if len(self.variances) != len(self.targets):
            raise ValueError(f"variances must be as many as the {len(self.targets)} targets, got {len(self.variances)}")
        if min(self.dim, self.width) < len(self.targets):
            raise ValueError(
                f"dim and width must be at least {len(self.targets)}, the number of targets; got {self.dim} and {self.width}"
            )


class State(NamedTuple):
    params: deep_linear.Params
    task: _linear.Task


class Result(NamedTuple):
    strengths: Float[Array, "feature"]  # u_i
    shares: Float[Array, "place feature"]  # of the explained hidden variance


def labels(config: Config) -> dict[str, tuple]:
    return {"place": _linear.PLACES}


def init(key: PRNGKeyArray, config: Config) -> State:
    basis = jax.random.orthogonal(key, config.dim)
    outputs = len(config.targets)
    sizes = config.dim, *(config.width,) * (config.depth - 1), outputs
    start = deep_linear.rotated(
        _linear.start(key, sizes, "aligned", config.init_scale), jnp.eye(outputs, dtype=basis.dtype), basis
    )
    return State(
        start, _linear.task(basis, jnp.asarray(config.targets, basis.dtype), jnp.asarray(config.variances, basis.dtype))
    )


def step(state: State, config: Config) -> State:
    return state._replace(params=_linear.descend(state.params, state.task, config.learning_rate))


def observe(state: State, config: Config) -> Result:
    return Result(_linear.strengths(state.params, state.task), _linear.shares(state.params, state.task))


def steps(config: Config) -> np.ndarray:
    return np.unique(np.linspace(0, config.num_steps, config.num_records + 1).astype(int))


def predict(config: Config, steps: np.ndarray) -> Result:
    time = config.learning_rate * jnp.asarray(steps, float)
    targets, variances = (jnp.asarray(values, float) for values in (config.targets, config.variances))
    u = modes.mode_strength(
        time[:, None], targets[None], jnp.asarray(config.init_scale, float) ** config.depth, config.depth, variances[None]
    )
    places = (1, config.depth - 1)
    shares = [jax.vmap(lambda now, layer=layer: modes.layer_share(now, variances, layer, config.depth))(u) for layer in places]
    return Result(u, jnp.stack(shares, axis=1))


_LAG = (
    "steps of size eta lag behind the flow by eta/2 times the logarithm of the factor by which the speed of a layer has grown, "
    "0.0028 at most here, which the speed of u_i, 4.2 at most, turns into 0.012"
)
TOLERANCE = {
    "strengths": Tolerance(0, 0.013, reason=_LAG),
    "shares": Tolerance(0, 2e-3, reason=f"{_LAG}; less in shares, of which most are settled when it is largest"),
}
QUICK = {"dim": 3, "width": 3, "depth": 2, "num_steps": 40, "num_records": 4}
SEEDS = 8
GRID = {"depth": (2, 3, 4)}
