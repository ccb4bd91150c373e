r"""Weight decay cuts features off: below a barrier, which rises with the decay, a feature ends at weight 0.

A penalty on both layers leaves every feature two places to end, 0 and the larger root of a cubic, and the smaller root between
them as a barrier. Which features survive depends on the start: from a small one weight decay loses features that it would keep
from a large one, and beyond the critical decay all starts lose them. Random weights are trained beside.

$$
4 S^2 b^3 - 4 \phi^2 b + 2 \lambda = 0, \qquad S = \phi^2 + \sigma^2, \qquad \lambda_c = \frac{4 \phi^3}{3 \sqrt 3\, S}
$$

Source: derived here; that weight decay takes the advantage from the layer before the head is from Xue et al., arXiv 2403.11391,
as its reviewers report it
Cost: 15 s
"""

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, Positive, Precision, Tolerance, check
from ...models.linear import contrastive as model
from ...models.linear import deep_linear
from ...tasks import augmentation_pairs
from ...theory.linear_networks import contrastive_modes
from . import _training

NOISE_STDS = tuple(map(math.sqrt, (0.3, 0.2, 0.05)))
WEIGHT_DECAYS = (0.0, 0.02, 0.1, 0.2, 0.4, 0.55, 0.8, 1.1, 1.6)


@dataclass(frozen=True)
class Config:
    signals: _training.Signals = (2.0, 1.0, 0.5)  # standard deviation of each feature (phi)
    noise_stds: _training.Noises = NOISE_STDS  # standard deviation of the augmentation along each (sigma)
    weight_decays: Annotated[tuple[NonNegative, ...], MinLen(1), Distinct] = WEIGHT_DECAYS  # of the squared norms (lambda)
    scales: Annotated[tuple[Positive, ...], MinLen(1), Distinct] = (0.3, 0.8)  # of each layer at the start: b(0) = scale^2
    width: Count = 6  # hidden units, and outputs of the head
    random_scale: Positive = 0.3  # standard deviation of random weights
    learning_rate: Positive = 5e-3  # step size
    num_steps: Count = 20_000  # updates
    dtype: Precision = "float64"  # modes that end at 0 pass through many decades

    def __post_init__(self):
        check(self)
        _training.check_features(self.signals, self.noise_stds)
        if self.width < len(self.signals):
            raise ValueError(f"width must be at least the {len(self.signals)} of signals, got {self.width}")


class State(NamedTuple):
    problem: augmentation_pairs.Problem
    params: deep_linear.Params  # leading axes of starts, the random one last, and of weight decays


class Result(NamedTuple):
    strength: Float[Array, "scale weight_decay feature"]  # weight of each feature behind the head (b)
    random: Float[Array, "weight_decay feature"] | None = None  # the same from random weights


def labels(config: Config) -> dict[str, tuple]:
    return {"scale": config.scales, "weight_decay": config.weight_decays}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_problem, key_random = jax.random.split(key)
    problem = augmentation_pairs.draw(key_problem, config.signals, config.noise_stds)
    sizes = len(config.signals), (config.width,), config.width
    aligned = [_training.start(key, *sizes, "aligned", scale) for scale in config.scales]
    left = jnp.eye(config.width, dtype=problem.basis.dtype)
    starts = [deep_linear.rotated(params, left, problem.basis) for params in aligned]
    starts.append(_training.start(key_random, *sizes, "unit_gaussian", config.random_scale))
    count = len(config.weight_decays)
    return State(problem, jax.tree.map(lambda *w: jnp.repeat(jnp.stack(w)[:, None], count, axis=1), *starts))


def step(state: State, config: Config) -> State:
    def update(params: deep_linear.Params, weight_decay: Array) -> deep_linear.Params:
        return _training.descend(params, state.problem, config.learning_rate, weight_decay)

    decays = jnp.asarray(config.weight_decays, float)
    return state._replace(params=jax.vmap(jax.vmap(update), (0, None))(state.params, decays))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    energies_fn = jax.vmap(jax.vmap(lambda params: model.energies(params, state.problem.basis)[1]))
    strength = jnp.sqrt(energies_fn(state.params))
    return Result(strength[:-1], strength[-1])


def predict(config: Config) -> Result:
    start = jnp.asarray(config.scales, float)[:, None, None] ** 2
    decay = jnp.asarray(config.weight_decays, float)[None, :, None]
    signals, noise_stds = (jnp.asarray(values, float)[None, None] for values in (config.signals, config.noise_stds))
    return Result(contrastive_modes.decayed_strength(start, signals, noise_stds, decay))


TOLERANCE = {"strength": Tolerance(1e-6, 1e-6, reason="exact where gradient descent rests: what is left after the last update")}
CURVE = {"weight_decays": 1000}  # so many that features are lost where they are
QUICK = {"signals": (2.0, 1.0), "noise_stds": (0.3, 0.2), "weight_decays": (0.0, 0.4), "width": 2, "num_steps": 50}
SEEDS = 8
