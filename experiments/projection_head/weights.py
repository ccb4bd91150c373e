r"""A contrastive network weights features unequally, and behind the projection head more unequally than before it.

Gradient descent on the population loss ends at the exact optimum: the square of the weight of feature $i$ is $q_i^2$ behind
the head and $q_i$ before it. A head of fewer outputs than features keeps those of the largest correlation between views, not
the strongest. Two starts are trained: a balanced one, for which the weights before the head are exact, and small random
weights, for which they are off by the conserved difference $W_2^\top W_2 - W_1 W_1^\top$.

$$
\begin{align*}
B^\top B &= S^{-1/2} \left[ S^{-1/2} C S^{-1/2} \right]_p S^{-1/2}, \qquad W_1^\top W_1 = (B^\top B)^{1/2} \\
q_i &= \frac{\phi_i}{\phi_i^2 + \sigma_i^2}
\end{align*}
$$

Source: Xue et al., arXiv 2403.11391, whose claim it is; the formulas are derived here
Cost: 20 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Precision, Tolerance, check
from ...models.linear import contrastive as network
from ...models.linear import deep_linear
from ...tasks import augmentation_pairs
from ...theory.linear_networks import contrastive
from . import _training

STARTS = ("balanced", "random")


@dataclass(frozen=True)
class Config:
    signals: _training.Signals = _training.SIGNALS  # standard deviation of each feature (phi)
    noise_stds: _training.Noises = _training.NOISE_STDS  # standard deviation of the augmentation along each (sigma)
    model: deep_linear.Config = field(
        default_factory=lambda: deep_linear.Config(6, (12,), 8, scheme="unit_gaussian", scale=0.03)
    )  # with the random start; num_outputs are those of the head (p)
    balanced_scale: Positive = 0.3  # of the balanced start, whose product has entries of this size squared
    learning_rate: Positive = 0.02  # step size
    num_steps: Count = 60_000  # updates: a head of 3 outputs takes long to exchange features of nearly equal correlation
    dtype: Precision = "float64"  # the optimum is reached to rounding

    def __post_init__(self):
        check(self)
        _training.check_features(self.signals, self.noise_stds, self.model)
        if self.model.depth != 2:
            raise ValueError(f"model.widths must be one hidden layer, got {self.model.widths}")


class State(NamedTuple):
    problem: augmentation_pairs.Problem
    params: tuple[deep_linear.Params, ...]  # of each start


class Result(NamedTuple):
    before: Float[Array, "start feature"]  # squared weight of a feature before the head
    behind: Float[Array, "start feature"]  # and behind it
    mixing_before: Float[Array, "start"]  # norm of the Gram matrix off its diagonal, over all of it
    mixing_behind: Float[Array, "start"]  # the same behind the head


def labels(config: Config) -> dict[str, tuple]:
    return {"start": STARTS}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_problem, key_balanced, key_random = jax.random.split(key, 3)
    model = config.model
    sizes = model.dim, model.widths, model.num_outputs
    balanced = _training.start(key_balanced, *sizes, "balanced", config.balanced_scale)
    params = balanced, deep_linear.init(key_random, model)
    return State(augmentation_pairs.draw(key_problem, config.signals, config.noise_stds), params)


def step(state: State, config: Config) -> State:
    params = tuple(_training.descend(one, state.problem, config.learning_rate) for one in state.params)
    return state._replace(params=params)


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    energies = jnp.stack([network.energies(params, state.problem.basis) for params in state.params])
    mixing = jnp.stack([network.mixing(params, state.problem.basis) for params in state.params])
    return Result(energies[:, 0], energies[:, 1], mixing[:, 0], mixing[:, 1])


def predict(config: Config) -> Result:
    q = contrastive.feature_weights(config.signals, config.noise_stds, config.model.num_outputs)
    before, behind = (contrastive.layer_weights(q, layer, 2) ** 2 for layer in (1, 2))
    none = jnp.zeros(len(STARTS), q.dtype)
    return Result(jnp.stack([before] * 2), jnp.stack([behind] * 2), none, none)


_BALANCE = (
    "the difference of W2^T W2 and W1 W1^T is conserved: of a random start it is of the size 12 x 0.03^2 = 0.011, the squared "
    "weight of a feature in 12 random units; of the balanced start it is 0 up to O(learning rate)"
)
TOLERANCE = {
    "before": Tolerance(0.01, 0.015, reason=_BALANCE),
    "behind": Tolerance(1e-6, 1e-6, reason="what is left of the weakest mode after the last update"),
    "mixing_before": Tolerance(0, 0.01, reason=_BALANCE),
    "mixing_behind": Tolerance(0, 1e-6, reason="what is left of the weakest mode after the last update"),
}
QUICK = {
    "signals": (2.0, 1.0),
    "noise_stds": (0.3, 0.2),
    "model.dim": 2,
    "model.widths": (4,),
    "model.num_outputs": 2,
    "num_steps": 100,
}
SEEDS = 8
GRID = {"model.num_outputs": (8, 3)}
