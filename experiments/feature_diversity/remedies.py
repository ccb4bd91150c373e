r"""Momentum and larger weights shorten the plateau, weight decay lengthens it, and centred inputs keep features diverse.

What each operation does to the time at half the loss, and to the mean cosine of hidden features once 2 % of the loss are gone,
for a deep linear network from rank one. Momentum $\beta$ needs $1 - \beta$ times as many updates. Centring leaves half of the
inputs on either side, so that the mean cosine is 0, but the plateau lasts longer: the drive $|b|$ loses what the mean has
contributed. Random Gaussian weights are trained beside, without a verdict.

$$
t^* = \frac{-\ln (1 - \lambda\, a_0^{2-L}/|b|)}{(L - 2)\, \lambda}, \qquad
\text{updates} = (1 - \beta)\, t^*/\eta, \qquad \text{mean cosine} = (2 P - 1)^2
$$

Source: derived here; of four operations that alleviate the plateau Liu et al., arXiv 2112.00980, name normalisation, momentum,
initialisation and L2 regularisation (recalled)
Cost: 15 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Fraction, NonNegative, Positive, Precision, Tolerance, check
from ...models.linear import deep_linear, rank_one
from ...theory.linear_networks import plateau
from . import _training

REMEDIES = ("none", "centred inputs", "larger weights", "weight decay")


@dataclass(frozen=True)
class Config:
    depth: Annotated[int, Ge(3)] = 4  # layers (L)
    init_scale: Positive = 0.1  # norm of each layer at the start (a_0)
    factor: Positive = 1.5  # of the larger weights
    weight_decay: NonNegative = 0.0125  # lambda of the remedy, of the penalty lambda/2 times the squared norms
    momenta: Annotated[tuple[Fraction, ...], MinLen(1), Distinct] = (0.5, 0.9)  # beta, each without another remedy
    dim: Count = 12  # of the inputs
    width: Count = 12  # of every hidden layer
    num_samples: Count = 400  # training samples
    mean: NonNegative = 2.0  # of the inputs, along their first coordinate
    teacher: _training.Teacher = (0.5, 0.3)  # y = teacher.x, the other coordinates 0
    learning_rate: Positive = 0.01  # step size
    num_steps: Count = 20_000  # updates
    dtype: Precision = "float64"  # products of small layers

    def __post_init__(self):
        check(self)
        _training.check_teacher(self.teacher, self.dim)


class State(NamedTuple):
    """Leading axes of networks (remedies, then momenta) and starts (rank one, random)."""

    params: deep_linear.Params
    velocity: deep_linear.Params
    early: deep_linear.Params  # as they were when the loss had fallen by 2 %
    steps: Float[Array, "network start"]  # updates above half of the first loss
    inputs: Float[Array, "network sample dim"]
    data: _training.Moments


class Result(NamedTuple):
    time: Float[Array, "remedy"]  # learning rate times updates until the loss is halved
    momentum_factor: Float[Array, "momentum"]  # updates with momentum, over updates without
    cosine: Float[Array, "remedy"]  # mean over all pairs of samples, last hidden layer, when 2 % of the loss are gone
    random_time: Float[Array, "remedy"] | None = None  # from Gaussian weights; all of the training where it did not suffice
    random_momentum_factor: Float[Array, "momentum"] | None = None
    random_cosine: Float[Array, "remedy"] | None = None


def labels(config: Config) -> dict[str, tuple]:
    return {"remedy": REMEDIES, "momentum": config.momenta}


def _settings(config: Config) -> tuple[Array, Array, Array]:
    """Scale, weight decay and momentum of every network."""
    plain = jnp.zeros(len(REMEDIES) + len(config.momenta))
    scales = (plain + config.init_scale).at[2].multiply(config.factor)
    return scales, plain.at[3].set(config.weight_decay), plain.at[len(REMEDIES) :].set(jnp.asarray(config.momenta, float))


def init(key: PRNGKeyArray, config: Config) -> State:
    key_data, key_aligned, key_random = jax.random.split(key, 3)
    x, y = _training.sample(key_data, config.num_samples, config.dim, config.mean, config.teacher)
    centred = x - jnp.mean(x, axis=0, keepdims=True)
    scales, _, _ = _settings(config)
    # the target is centred too: no network without biases could learn its mean
    pairs = [(x, y)] * len(scales)
    pairs[1] = centred, y - jnp.mean(y)
    inputs = jnp.stack([one for one, _ in pairs])
    data = jax.tree.map(lambda *leaf: jnp.stack(leaf), *(_training.moments(*pair) for pair in pairs))

    def starts(direction: Float[Array, "dim"]) -> deep_linear.Params:
        aligned = _training.unit_start(key_aligned, config.dim, config.width, config.depth, direction)
        random = _training.unit_gaussian(key_random, config.dim, config.width, config.depth)
        return jax.tree.map(lambda *w: jnp.stack(w), aligned, random)

    unit = jax.vmap(starts)(data.cross[:, 0])
    params = _training.scaled(unit, jnp.broadcast_to(scales[:, None], (len(scales), 2)))
    return State(params, jax.tree.map(jnp.zeros_like, params), params, jnp.zeros((len(scales), 2)), inputs, data)


def step(state: State, config: Config) -> State:
    _, decays, momenta = _settings(config)

    def update(params, velocity, early, steps, data, decay, momentum):
        value, slope = _training.gradient(params, data, decay)
        first = data.square / 2
        velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, slope)
        early = jax.tree.map(lambda old, now: jnp.where(value > 0.98 * first, now, old), early, params)
        after = _training.descended(params, velocity, config.learning_rate)
        return after, velocity, early, steps + jnp.where(value > first / 2, 1, 0)

    each_start = jax.vmap(update, (0, 0, 0, 0, None, None, None))
    networks = state.params, state.velocity, state.early, state.steps
    params, velocity, early, steps = jax.vmap(each_start)(*networks, state.data, decays, momenta)
    return state._replace(params=params, velocity=velocity, early=early, steps=steps)


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    count = len(REMEDIES)

    def cosine(params: deep_linear.Params, inputs: Float[Array, "sample dim"]) -> Float[Array, ""]:
        features = jax.vmap(deep_linear.layers, (None, 0))(params, inputs)
        return rank_one.mean_pair_cosine(features[-2])

    early = jax.tree.map(lambda w: w[:count], state.early)
    cosines = jax.vmap(jax.vmap(cosine, (0, None)))(early, state.inputs[:count])
    time, factor = config.learning_rate * state.steps[:count], state.steps[count:] / jnp.maximum(state.steps[:1], 1)
    return Result(time[:, 0], factor[:, 0], cosines[:, 0], time[:, 1], factor[:, 1], cosines[:, 1])


def predict(state: State, config: Config) -> Result:
    scales, decays, momenta = (values[: len(REMEDIES)] for values in _settings(config))
    drive = jnp.linalg.norm(state.data.cross[: len(REMEDIES), 0], axis=1)
    time = plateau.plateau_time(scales, config.depth, drive, decays)
    cosine = [plateau.plateau_cosine(state.data.cross[i, 0], state.inputs[i]) for i in range(len(REMEDIES))]
    momenta = jnp.asarray(config.momenta, time.dtype)
    factor = plateau.plateau_steps(time[0], config.learning_rate, momenta) / plateau.plateau_steps(
        time[0], config.learning_rate
    )
    return Result(time, factor, jnp.stack(cosine))


TOLERANCE = {
    "time": Tolerance(0.06, reason="the loss is halved before the amplitude of the law diverges, by O(a_0^2) of the time"),
    "momentum_factor": Tolerance(0.25, reason="leading order: the velocity follows the gradient after 1/(1 - beta) updates"),
    "cosine": Tolerance(0, 0.01, reason="the direction that is read has turned a little when 2 % of the loss are gone"),
}
QUICK = {"depth": 3, "dim": 3, "width": 2, "num_samples": 20, "num_steps": 200, "init_scale": 0.4, "momenta": (0.5,)}
SEEDS = 8
