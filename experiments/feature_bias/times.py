r"""A smaller start delays the learning of a ReLU network, and that of a hard feature more than that of an easy one.

While outputs are small every unit grows by itself, the fastest at the rate $\gamma$ of the feature that it serves:
$\frac{1}{2}$ for $x_1$ and $\frac{\sqrt 2}{4}$ for $x_2 x_3$. A feature is learned when half of its target is reached. Networks
start from the same directions at several scales $a$; the slope of the learning time between the smallest two is compared with

$$
\frac{dt}{d \ln(1/a)} = \frac{\eta}{\ln(1 + \eta \gamma)} \to \frac{1}{\gamma}
$$

for steps of size $\eta$. The times themselves have a part that does not depend on $a$, of which nothing is said here.

Source: derived here; learning order as a cause of biased representations is a subject of Lampinen, Chan and Hermann, arXiv
2405.05847 (abstract read)
Cost: 9 s
"""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Tolerance, check
from ...models.fully_connected import balanced_relu
from ...tasks import boolean_features
from ...theory.feature_learning import feature_bias
from . import _relu


@dataclass(frozen=True)
class Config:
    model: balanced_relu.Config = field(default_factory=lambda: balanced_relu.Config(width=256, init_scale=1.0))
    scales: Annotated[tuple[Positive, ...], MinLen(2), Distinct] = (1e-2, 1e-4, 1e-6, 1e-8)  # of model.init_scale, falling (a)
    learning_rate: Positive = 0.02  # step size on half of the squared error (eta)
    num_steps: Count = 3500  # updates

    def __post_init__(self):
        check(self)
        _relu.check_model(self.model)
        if list(self.scales) != sorted(self.scales, reverse=True):
            raise ValueError(f"scales must fall, got {self.scales}")


class State(NamedTuple):
    params: balanced_relu.Params  # of all scales on a leading axis
    learned: Float[Array, "scale output"]  # the share of each target that is reached
    steps: Float[Array, "scale output"]  # updates until half of it was, between two updates by proportion


class Result(NamedTuple):
    slopes: Float[Array, "output"]  # of the learning time in ln(1/a), between the two smallest scales
    times: Float[Array, "scale output"] | None = None  # learning rate times updates until half of the target is reached
    ratio: Float[Array, "scale"] | None = None  # of the learning times, hard over easy


def labels(config: Config) -> dict[str, tuple]:
    return {"output": _relu.NAMES[:2], "scale": config.scales}


def init(key: PRNGKeyArray, config: Config) -> State:
    params = balanced_relu.init(key, config.model)
    stacked = jax.tree.map(lambda p: jnp.asarray(config.scales, p.dtype)[:, None, None] * p[None], params)
    learned = jax.vmap(_learned)(stacked)
    return State(stacked, learned, jnp.zeros_like(learned))


def step(state: State, config: Config) -> State:
    ones = jnp.ones_like(state.learned[0])
    params = jax.vmap(lambda params: _relu.descend(params, ones, ones, config.learning_rate))(state.params)
    learned = jax.vmap(_learned)(params)
    part = jnp.clip((0.5 - state.learned) / (learned - state.learned), 0, 1)
    waiting = state.learned < 0.5
    return State(params, learned, state.steps + jnp.where(waiting, jnp.where(learned < 0.5, 1, part), 0))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    """A feature that was not learned has the time infinity, or NaN where it makes a slope."""
    times = config.learning_rate * jnp.where(state.learned < 0.5, jnp.inf, state.steps)
    ratio = jnp.log(jnp.asarray(config.scales[-2], times.dtype) / config.scales[-1])
    return Result((times[-1] - times[-2]) / ratio, times, times[:, 1] / times[:, 0])


def predict(config: Config) -> Result:
    rates = jnp.stack([feature_bias.parity_growth_rate(len(bits)) for bits in _relu.TARGETS])
    return Result(feature_bias.learning_time_slope(rates, config.learning_rate))


def _learned(params: balanced_relu.Params) -> Float[Array, "output"]:
    """E f_i y_i, which is 1 where the targets are learned."""
    y = boolean_features.evaluate(_relu.TARGETS, boolean_features.cube(params.w.shape[0]))
    return jnp.mean(balanced_relu.outputs(params, _relu.hidden(params)) * y, axis=0)


_KINK = (
    "steps overshoot the kink of a hard unit, where its two weights are equal, by eta |a_j|/4 on average, which makes its rate "
    "0.354 smaller by eta/32: 0.18 % at eta = 0.02"
)
TOLERANCE = {"slopes": Tolerance(3e-3, reason=_KINK)}
QUICK = {"model.width": 16, "scales": (0.1, 0.03), "learning_rate": 0.1, "num_steps": 300}
SEEDS = 16
