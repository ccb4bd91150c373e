r"""While the loss of a deep linear network stands still, the features of all inputs become alike, and then differ again.

The inputs have a mean, along which the first mode of the target lies. It grows alone for as long as the plateau lasts, and then
the features of an input are its coordinate along that mode times one vector, whatever the input. When the loss has fallen
further modes follow and the cosines fall. Loss and mean cosine have closed forms at every step, from an aligned start.

$$
L = \frac12 \sum_i v_i (t_i - u_i)^2, \qquad \text{features of layer } l: \; u_i(t)^{l/L}\, x_i, \qquad
\text{mean cosine on the plateau} = (2 P - 1)^2
$$

with strengths $u_i$ of the modes in closed form, the second moments $v_i$ of the inputs along them, and $P$ the share of inputs
with $x_1 > 0$.

Source: Liu et al., arXiv 2112.00980, for the observation, on MLPs; the closed forms are derived here
Cost: 20 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Precision, Tolerance, check
from ...models.linear import deep_linear, rank_one
from ...theory.linear_networks import modes, plateau
from . import _training


@dataclass(frozen=True)
class Config:
    depth: Annotated[int, Ge(2)] = 4  # layers (L)
    targets: Annotated[tuple[Positive, ...], MinLen(1)] = (0.5, 0.8, 0.7)  # strength of each mode in the target (t_i)
    mean: NonNegative = 2.0  # of the inputs along the first mode, in standard deviations
    dim: Count = 12  # of the inputs
    init_scale: Positive = 0.3  # norm of each layer along each mode at the start (a_0)
    learning_rate: Positive = 4e-3  # step size
    num_steps: Count = 25_000  # updates
    num_records: Count = 60  # times of a record, evenly spaced in their logarithm
    num_test: Count = 400  # inputs whose features are compared
    dtype: Precision = "float64"  # as the curve

    def __post_init__(self):
        check(self)
        if len(self.targets) > self.dim:
            raise ValueError(f"targets must be at most dim = {self.dim}, got {len(self.targets)}")


class State(NamedTuple):
    params: deep_linear.Params
    basis: Float[Array, "dim dim"]  # its first columns are the modes in the inputs
    left: Float[Array, "mode mode"]  # the modes in the outputs
    inputs: Float[Array, "sample dim"]  # whose features are compared


class Result(NamedTuple):
    loss: Float[Array, ""]  # half the mean squared error, of infinitely many inputs
    cosine: Float[Array, ""]  # mean over all pairs of inputs, features of the last hidden layer
    first_cosine: Float[Array, ""]  # the same of the first layer


def init(key: PRNGKeyArray, config: Config) -> State:
    key_basis, key_left, key_inputs = jax.random.split(key, 3)
    modes = len(config.targets)
    basis = jax.random.orthogonal(key_basis, config.dim)
    left = jax.random.orthogonal(key_left, modes)
    unit = deep_linear.init(key, deep_linear.Config(config.dim, (modes,) * (config.depth - 1), modes, "aligned", 1.0))
    params = jax.tree.map(lambda w: config.init_scale * w, unit)
    inputs = jax.random.normal(key_inputs, (config.num_test, config.dim)) + config.mean * basis[:, 0][None]
    return State(deep_linear.rotated(params, left, basis), basis, left, inputs)


def _loss(params: deep_linear.Params, state: State, config: Config) -> Float[Array, ""]:
    targets = jnp.asarray(config.targets, float)
    first = state.basis[:, 0]
    covariance = jnp.eye(config.dim) + config.mean**2 * jnp.outer(first, first)
    cross = (state.left * targets[None]) @ state.basis[:, : len(targets)].T @ covariance
    square = jnp.sum(targets**2) + (config.mean * targets[0]) ** 2
    return deep_linear.population_loss(params, covariance, cross, square)


def step(state: State, config: Config) -> State:
    slope = jax.grad(_loss)(state.params, state, config)
    return state._replace(params=_training.descended(state.params, slope, config.learning_rate))


def observe(state: State, config: Config) -> Result:
    features = jax.vmap(deep_linear.layers, (None, 0))(state.params, state.inputs)
    last, first = (rank_one.mean_pair_cosine(layer) for layer in (features[-2], features[0]))
    return Result(_loss(state.params, state, config), last, first)


def steps(config: Config) -> np.ndarray:
    return np.unique([0, *np.geomspace(1, config.num_steps, config.num_records).round().astype(int)])


def predict(state: State, config: Config, steps: np.ndarray) -> Result:
    time = config.learning_rate * jnp.asarray(steps, float)
    targets, variances = _modes(config)
    u = modes.mode_strength(time[:, None], targets[None], config.init_scale**config.depth, config.depth, variances[None])
    inputs = state.inputs @ state.basis[:, : len(targets)]
    last, first = (plateau.mode_cosine(u ** (layer / config.depth), inputs) for layer in (config.depth - 1, 1))
    return Result(jnp.sum(variances[None] * (targets[None] - u) ** 2, axis=1) / 2, last, first)


def predict_plateau(state: State, config: Config, steps: np.ndarray) -> Result:
    """The laws of the plateau: the loss by amplitudes that grow independently, and the cosine of Gaussian inputs.

    The first amplitude diverges at the end of the plateau, beyond which nothing is predicted.
    """
    time = config.learning_rate * jnp.asarray(steps, float)
    targets, variances = _modes(config)
    drive = targets * variances
    amplitude = plateau.plateau_amplitude(time[:, None], config.init_scale, config.depth, drive[None])
    lasts = time < plateau.plateau_time(config.init_scale, config.depth, jnp.max(drive))
    learned = jnp.sum(drive[None] * jnp.where(lasts[:, None], amplitude, 0) ** config.depth, axis=1)
    loss = jnp.where(lasts, jnp.sum(variances * targets**2) / 2 - learned, jnp.nan)
    cosine = jnp.where(lasts, plateau.gaussian_cosine(jnp.asarray(config.mean, time.dtype)), jnp.nan)
    return Result(jnp.where(loss > 0, loss, jnp.nan), cosine, cosine)


def _modes(config: Config) -> tuple[Float[Array, "mode"], Float[Array, "mode"]]:
    """Targets, and second moments of the inputs along the modes."""
    targets = jnp.asarray(config.targets, float)
    return targets, jnp.ones_like(targets).at[0].add(config.mean**2)


_LAG = (
    "the flow is the limit of small steps: a mode that grows at the rate r lags by half of r times the step size, r at most 10"
)
TOLERANCE = {
    "loss": Tolerance(0.005, 0.005, reason=_LAG),
    "cosine": Tolerance(0, 0.003, reason=_LAG),
    "first_cosine": Tolerance(0, 0.003, reason=_LAG),
}
QUICK = {"depth": 2, "targets": (0.5, 0.8), "dim": 3, "num_steps": 100, "num_records": 4, "num_test": 8}
SEEDS = 8
GRID = {"depth": (2, 3, 4, 5, 6)}
