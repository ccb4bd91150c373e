r"""The deeper the layer of a contrastive network, the more unequal its weights: after layer l of k a feature has the power l/k.

Networks of several depths, all balanced at the start, end with the same function, whose weights $q_i$ the layers share
equally. Random weights of moderate size are trained beside them: what they have of imbalance at the start stays, and the
powers are others.

$$
\text{weight of feature } i \text{ after layer } l = q_i^{l/k}, \qquad q_i = \frac{\phi_i}{\phi_i^2 + \sigma_i^2}
$$

Source: derived here, for the model of Xue et al., arXiv 2403.11391, whose claim on two layers it extends
Cost: 15 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Precision, Tolerance, check
from ...models.linear import contrastive as model
from ...models.linear import deep_linear
from ...tasks import augmentation_pairs
from ...theory.linear_networks import contrastive
from . import _training


@dataclass(frozen=True)
class Config:
    signals: Annotated[tuple[Positive, ...], MinLen(2)] = _training.SIGNALS  # standard deviation of each feature (phi)
    noise_stds: _training.Noises = _training.NOISE_STDS  # standard deviation of the augmentation along each (sigma)
    depths: Annotated[tuple[Annotated[int, Ge(2)], ...], MinLen(1), Distinct] = (2, 3, 4)  # layers of each network (k)
    width: Count = 8  # of every hidden layer, and outputs of the head
    product_std: Positive = 0.1  # of the entries of the product of all layers, at a balanced start
    random_scale: Positive = 0.2  # standard deviation of random weights
    learning_rate: Positive = 4e-3  # step size
    num_steps: Count = 20_000  # updates
    dtype: Precision = "float64"  # the optimum is reached to rounding

    def __post_init__(self):
        check(self)
        _training.check_features(self.signals, self.noise_stds)
        if self.width < len(self.signals):
            raise ValueError(f"width must be at least the {len(self.signals)} of signals, got {self.width}")


class State(NamedTuple):
    problem: augmentation_pairs.Problem
    balanced: tuple[deep_linear.Params, ...]  # of each depth
    random: tuple[deep_linear.Params, ...]


class Result(NamedTuple):
    weight: Float[Array, "layer feature"]  # of a feature after a layer
    power: Float[Array, "layer"]  # slope of log weight after a layer against log weight behind the head, over features
    random_power: Float[Array, "layer"] | None = None  # the same from random weights


def labels(config: Config) -> dict[str, tuple]:
    return {"layer": tuple(f"{layer} of {depth}" for depth, layer in _layers(config))}


def _layers(config: Config) -> list[tuple[int, int]]:
    """(k, l) of every layer but the last, which is the same for all."""
    return [(depth, layer) for depth in config.depths for layer in range(1, depth)]


def init(key: PRNGKeyArray, config: Config) -> State:
    key_problem, *keys = jax.random.split(key, 1 + 2 * len(config.depths))
    problem = augmentation_pairs.draw(key_problem, config.signals, config.noise_stds)

    balanced, random = [], []
    for i, depth in enumerate(config.depths):
        sizes = len(config.signals), (config.width,) * (depth - 1), config.width
        scale = config.product_std ** (1 / depth)
        balanced.append(_training.start(keys[2 * i], *sizes, "balanced", scale))
        random.append(_training.start(keys[2 * i + 1], *sizes, "unit_gaussian", config.random_scale))
    return State(problem, tuple(balanced), tuple(random))


def step(state: State, config: Config) -> State:
    balanced, random = (
        tuple(_training.descend(params, state.problem, config.learning_rate) for params in networks)
        for networks in (state.balanced, state.random)
    )
    return State(state.problem, balanced, random)


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    weight, power = _measured(state.balanced, state.problem)
    return Result(weight, power, _measured(state.random, state.problem)[1])


def _measured(networks: tuple[deep_linear.Params, ...], problem: augmentation_pairs.Problem) -> tuple[Array, Array]:
    logs = [jnp.log(model.energies(params, problem.basis)) / 2 for params in networks]
    powers = []
    for log in logs:
        behind = log[-1] - jnp.mean(log[-1])
        spread = behind @ behind
        powers.append(log[:-1] @ behind / jnp.where(spread > 0, spread, 1))
    return jnp.exp(jnp.concatenate([log[:-1] for log in logs])), jnp.concatenate(powers)


def predict(config: Config) -> Result:
    q = contrastive.feature_weights(config.signals, config.noise_stds, config.width)
    weight = jnp.stack([contrastive.layer_weights(q, layer, depth) for depth, layer in _layers(config)])
    return Result(weight, jnp.array([layer / depth for depth, layer in _layers(config)], q.dtype))


_BALANCE = "finite steps break the balance of the start by O(learning rate)"
TOLERANCE = {
    "weight": Tolerance(0.005, reason=_BALANCE),
    "power": Tolerance(0, 0.005, reason=_BALANCE),
}
QUICK = {"signals": (2.0, 1.0), "noise_stds": (0.3, 0.2), "depths": (2, 3), "width": 2, "num_steps": 100}
SEEDS = 8
