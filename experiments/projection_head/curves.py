r"""A contrastive network learns strong features first: the strength of every feature follows a closed form at every step.

From a balanced start that is diagonal in the features each of them is learned alone. A feature $\phi$ of augmentation noise
$\sigma$ takes off at the time $1/(8 \phi^2 b(0))$, and before the head its weight is $\sqrt{b}$ at all times. Small random
weights are drawn beside it: they learn features in the same order.

$$
8\, \phi^2 t = \left[ -\frac{1}{b} + \frac{S}{\phi} \operatorname{artanh} \frac{S b}{\phi} \right]_{b(0)}^{b(t)},
\qquad S = \phi^2 + \sigma^2
$$

Source: derived here, for the model of Xue et al., arXiv 2403.11391
Cost: 10 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Precision, Tolerance, check
from ...models.linear import contrastive as model
from ...models.linear import deep_linear
from ...tasks import augmentation_pairs
from ...theory.linear_networks import contrastive, contrastive_modes
from . import _training


@dataclass(frozen=True)
class Config:
    signals: _training.Signals = _training.SIGNALS  # standard deviation of each feature (phi)
    noise_stds: _training.Noises = _training.NOISE_STDS  # standard deviation of the augmentation along each (sigma)
    model: deep_linear.Config = field(
        default_factory=lambda: deep_linear.Config(6, (12,), 8, scheme="aligned", scale=0.2)
    )  # with the start of the curves, b(0) = scale^2
    random_scale: Positive = 0.06  # standard deviation of the weights of the random start
    learning_rate: Positive = 1e-3  # step size
    num_steps: Count = 20_000  # updates
    num_records: Count = 120  # times of a record, evenly spaced in their logarithm from 1/200 of all updates on
    dtype: Precision = "float64"  # as the curve

    def __post_init__(self):
        check(self)
        _training.check_features(self.signals, self.noise_stds, self.model)
        if self.model.depth != 2 or self.model.scheme != "aligned" or self.model.num_outputs < self.model.dim:
            raise ValueError(f"model must be aligned, of two layers and at least as many outputs as inputs, got {self.model}")


class State(NamedTuple):
    problem: augmentation_pairs.Problem
    aligned: deep_linear.Params
    random: deep_linear.Params


class Result(NamedTuple):
    behind: Float[Array, "feature"]  # weight of a feature behind the head, its strength in W_2 W_1 (b)
    before: Float[Array, "feature"]  # weight before the head
    random: Float[Array, "feature"] | None = None  # weight behind the head from random weights


def init(key: PRNGKeyArray, config: Config) -> State:
    key_problem, key_random, key_left = jax.random.split(key, 3)
    problem = augmentation_pairs.draw(key_problem, config.signals, config.noise_stds)
    left = jax.random.orthogonal(key_left, config.model.num_outputs)
    aligned = deep_linear.rotated(deep_linear.init(key, config.model), left, problem.basis)
    sizes = config.model.dim, config.model.widths, config.model.num_outputs
    return State(problem, aligned, _training.start(key_random, *sizes, "unit_gaussian", config.random_scale))


def step(state: State, config: Config) -> State:
    aligned, random = (_training.descend(one, state.problem, config.learning_rate) for one in (state.aligned, state.random))
    return State(state.problem, aligned, random)


def observe(state: State, config: Config) -> Result:
    before, behind = jnp.sqrt(model.energies(state.aligned, state.problem.basis))
    return Result(behind, before, jnp.sqrt(model.energies(state.random, state.problem.basis)[1]))


def steps(config: Config) -> np.ndarray:
    return np.unique(np.geomspace(max(1, config.num_steps / 200), config.num_steps, config.num_records).round().astype(int))


def predict(config: Config, steps: np.ndarray) -> Result:
    time = config.learning_rate * jnp.asarray(steps, float)[:, None]
    signals, noise_stds = (jnp.asarray(values, float)[None] for values in (config.signals, config.noise_stds))
    b = contrastive_modes.mode_strength(time, signals, noise_stds, config.model.scale**2)
    return Result(b, contrastive.layer_weights(b, 1, 2))


_LAG = (
    "the flow is the limit of small steps: a mode whose rate is r lags by r times the step size of its change, where r is at "
    "most 16 phi^3/(phi^2 + sigma^2) = 31"
)
TOLERANCE = {
    "behind": Tolerance(0.005, 0.003, reason=_LAG),
    "before": Tolerance(0.005, 0.003, reason=_LAG),
}
QUICK = {
    "signals": (2.0, 1.0),
    "noise_stds": (0.3, 0.2),
    "model.dim": 2,
    "model.widths": (3,),
    "model.num_outputs": 2,
    "num_steps": 100,
    "num_records": 4,
}
SEEDS = 8
