r"""The layer before the head shows a feature better if the feature is too weak, too strong, or disrupted by augmentation.

The share of one feature in the variance of the representation, before the head less behind it, over the plane of its signal
and its augmentation noise; the other features stay as they are. Behind the head is better inside a half circle, whose diameter
is given by the other features. A ridge regression of the feature on the representation of a few clean samples is measured
beside it, without a verdict: the variance of a feature is not all that its error depends on.

$$
\text{before the head is better} \iff q < q_c, \qquad q = \frac{\phi}{\phi^2 + \sigma^2}, \qquad
q_c = \frac{\sum_{i} \phi_i^2 q_i^2}{\sum_{i} \phi_i^2 q_i}, \qquad \sigma_c = \sqrt{\phi/q_c - \phi^2}
$$

with sums over the other features.

Source: Xue et al., arXiv 2403.11391, for the three cases, as its reviewers name them; the boundary is derived here
Cost: 15 s
"""

from dataclasses import dataclass, field
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
    signals: Annotated[tuple[Positive, ...], MinLen(1), Distinct] = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05, 1.2)  # phi
    noise_stds: Annotated[tuple[Annotated[float, Ge(0)], ...], MinLen(2), Distinct] = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)  # sigma
    other_signals: _training.Signals = (1.0, 0.8, 0.6)  # of the other features
    other_noise_stds: _training.Noises = (0.2, 0.2, 0.1)  # augmentation noise along them
    model: deep_linear.Config = field(default_factory=lambda: deep_linear.Config(4, (8,), 8, scheme="balanced", scale=0.4))
    learning_rate: Positive = 0.01  # step size
    num_steps: Count = 10_000  # updates
    num_shots: Count = 6  # samples of the downstream task
    ridge: Positive = 0.1  # of its regression, for a representation of variance 1
    num_probes: Count = 32  # draws of these samples, over which the error is averaged
    dtype: Precision = "float64"  # the optimum is reached to rounding

    def __post_init__(self):
        check(self)
        _training.check_features(self.other_signals, self.other_noise_stds)
        _training.check_features((0, *self.other_signals), (0, *self.other_noise_stds), self.model)
        if self.model.depth != 2 or self.model.num_outputs < self.model.dim:
            raise ValueError(f"model must have two layers, and at least as many outputs as inputs, got {self.model}")
        if sorted(self.noise_stds) != list(self.noise_stds):
            raise ValueError(f"noise_stds must rise, got {self.noise_stds}")


class State(NamedTuple):
    problems: augmentation_pairs.Problem  # a leading axis of signals times noises
    params: deep_linear.Params
    key: PRNGKeyArray  # of the downstream samples


class Result(NamedTuple):
    advantage: Float[Array, "signal noise_std"]  # share of variance before the head, less the share behind it
    critical_noise: Float[Array, "signal"]  # at which it changes its sign, between neighbours by a line; 0 if it never does
    probe_gain: Float[Array, "signal noise_std"] | None = None  # error of the regression behind the head less before it


def labels(config: Config) -> dict[str, tuple]:
    return {"signal": config.signals, "noise_std": config.noise_stds}


def _plane(config: Config) -> tuple[Array, Array]:
    """Signals and noises of all features, the one in question first, for every point of the plane."""
    signal, noise = (jnp.asarray(values, float) for values in (config.signals, config.noise_stds))
    shape = (len(signal), len(noise))

    def beside(first: Array, others: tuple[float, ...]) -> Array:
        rest = jnp.broadcast_to(jnp.asarray(others, float), (*shape, len(others)))
        return jnp.concatenate([jnp.broadcast_to(first, shape)[..., None], rest], axis=-1)

    return beside(signal[:, None], config.other_signals), beside(noise[None], config.other_noise_stds)


def init(key: PRNGKeyArray, config: Config) -> State:
    key_problem, key_model, key_probe = jax.random.split(key, 3)
    signals, noise_stds = (values.reshape(-1, config.model.dim) for values in _plane(config))
    problem = augmentation_pairs.draw(key_problem, signals[0], noise_stds[0])
    basis = jnp.broadcast_to(problem.basis, (len(signals), *problem.basis.shape))
    start = deep_linear.init(key_model, config.model)
    params = jax.tree.map(lambda w: jnp.broadcast_to(w, (len(signals), *w.shape)), start)
    return State(augmentation_pairs.Problem(signals, noise_stds, basis), params, key_probe)


def step(state: State, config: Config) -> State:
    update_fn = jax.vmap(lambda params, problem: _training.descend(params, problem, config.learning_rate))
    return state._replace(params=update_fn(state.params, state.problems))


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    shape = (len(config.signals), len(config.noise_stds))

    def gain(params: deep_linear.Params, problem: augmentation_pairs.Problem) -> Float[Array, ""]:
        variances = problem.signals[None] ** 2 * model.energies(params, problem.basis)
        before, behind = variances[:, 0] / jnp.sum(variances, axis=1)
        return before - behind

    def probe(given: tuple[deep_linear.Params, augmentation_pairs.Problem]) -> Float[Array, ""]:
        before, behind = (_probe_error(map_, given[1], state.key, config) for map_ in deep_linear.products(given[0]))
        return behind - before

    advantage = jax.vmap(gain)(state.params, state.problems).reshape(shape)
    probes = jax.lax.map(probe, (state.params, state.problems)).reshape(shape)
    return Result(advantage, _crossing(advantage, jnp.asarray(config.noise_stds, advantage.dtype)), probes)


def _probe_error(map_: Array, problem: augmentation_pairs.Problem, key: PRNGKeyArray, config: Config) -> Float[Array, ""]:
    """Mean squared error, on new samples, of a ridge regression of the first feature on a representation of few samples."""
    read = (map_ @ problem.basis) * problem.signals[None]  # representation of independent features of variance 1
    read = read / jnp.linalg.norm(read)
    z = jax.random.normal(key, (config.num_probes, config.num_shots, len(problem.signals)), read.dtype)
    x, y = z @ read.T, z[..., 0]
    gram = x @ jnp.swapaxes(x, 1, 2) + config.ridge * jnp.eye(config.num_shots, dtype=read.dtype)[None]
    coefficients = jnp.linalg.solve(gram, y[..., None])[..., 0]
    found = jnp.einsum("pn,pnh->ph", coefficients, x) @ read  # of each feature
    target = jnp.zeros(len(problem.signals), read.dtype).at[0].set(1)
    return jnp.mean(jnp.sum((found - target[None]) ** 2, axis=1))


def _crossing(advantage: Float[Array, "signal noise_std"], noise: Float[Array, "noise_std"]) -> Float[Array, "signal"]:
    """The noise at which the advantage rises through 0, linear between the last point below and the next one."""
    place = jnp.arange(len(noise))
    last = jnp.max(jnp.where(advantage < 0, place[None], -1), axis=1)
    at = jnp.clip(last, 0, len(noise) - 2)
    low, high = (jnp.take_along_axis(advantage, (at + one)[:, None], axis=1)[:, 0] for one in (0, 1))
    inside = (last >= 0) & (last < len(noise) - 1) & (high > low)
    share = jnp.where(inside, -low / jnp.where(inside, high - low, 1), 0)
    beyond = jnp.where(last == len(noise) - 1, noise[-1], 0)
    return jnp.where(inside, noise[at] + share * (noise[at + 1] - noise[at]), beyond)


def predict(config: Config) -> Result:
    def gain(signals: Float[Array, "feature"], noise_stds: Float[Array, "feature"]) -> Float[Array, ""]:
        q = contrastive.feature_weights(signals, noise_stds, config.model.num_outputs)
        return contrastive.earlier_advantage(signals, q)[0]

    others = contrastive.feature_weights(config.other_signals, config.other_noise_stds, config.model.num_outputs)
    critical = contrastive.critical_weight(config.other_signals, others)
    signals, noise_stds = _plane(config)
    noise = contrastive.critical_noise(jnp.asarray(config.signals, critical.dtype), critical)
    return Result(jax.vmap(jax.vmap(gain))(signals, noise_stds), noise)


TOLERANCE = {
    "advantage": Tolerance(0, 0.002, reason="finite steps break the balance of the start by O(learning rate)"),
    "critical_noise": Tolerance(0, 0.02, reason="the simulated sign changes between two points of the grid, by a line"),
}
CURVE = {"signals": 200}
QUICK = {
    "signals": (0.3, 0.9),
    "noise_stds": (0.0, 0.5),
    "other_signals": (1.0,),
    "other_noise_stds": (0.2,),
    "model.dim": 2,
    "model.widths": (3,),
    "model.num_outputs": 2,
    "num_steps": 50,
    "num_shots": 2,
    "num_probes": 2,
}
SEEDS = 8
