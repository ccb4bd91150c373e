r"""In phase 1 minibatch noise makes ||w||^2 - a^2 grow linearly, slows the signal and keeps the opposite component up.

$$
\begin{align*}
\text{signal} &= \frac{2}{d} \left[ e^{(q - 1)/r} \left(1 + 2 r + 2 r^2\right) - 2 r (q + r) \right] \\
\text{opposite} &= \frac{2}{d} \left[ e^{-(q - 1)/r} \left(1 - 2 r + 2 r^2\right) + 2 r (q - r) \right] \\
\text{imbalance} &= \kappa t \left(1 - \frac{1}{d}\right), \qquad q = \sqrt{1 + \kappa t}, \quad r = \frac{\kappa}{4\lambda}
\end{align*}
$$

Here $t$ is `learning_rate` times the number of steps, $\kappa = \eta d/(2 m)$ and $\lambda = 1/\sqrt{2\pi}$; as
$\kappa \to 0$ the first two become $(2/d)\, e^{\pm 2\lambda t}$.

Source: Glasgow, arXiv 2309.15111 (noise along the signal is small); the moments are derived here
Cost: 15 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...contract import Count, Tolerance
from ...models.fully_connected import two_layer
from ...theory.feature_learning import xor as theory
from . import _training


@dataclass(frozen=True)
class Config(_training.Config):
    model: two_layer.Config = field(default_factory=lambda: two_layer.Config(dim=256, width=256, init_scale=0.1))
    batch_size: Count = 128  # fresh samples per step (paper: m); kappa = learning_rate * dim / (2 m)
    num_steps: Count = 40  # updates
    record_every: Count = 4  # steps between two records


class Result(NamedTuple):
    """Means over the neurons, in units of init_scale ** 2."""

    signal: Float[Array, ""]  # squared signal component
    opposite: Float[Array, ""]  # squared opposite component
    imbalance: Float[Array, ""]  # ||w||^2 - a^2


init, step = _training.init, _training.step


def steps(config: Config) -> np.ndarray:
    return np.arange(0, config.num_steps + 1, config.record_every)


def observe(state: _training.State, config: Config) -> Result:
    signal, opposite, _, _ = two_layer.components(state.params)
    means = (jnp.mean(signal**2), jnp.mean(opposite**2), jnp.mean(two_layer.imbalance(state.params)))
    return Result(*(mean / config.model.init_scale**2 for mean in means))


def predict(config: Config, steps: np.ndarray) -> Result:
    """Second moments of the linear regime, f = 0, with the noise of a minibatch."""
    kappa = theory.noise_parameter(config.learning_rate, float(config.model.dim), float(config.batch_size))
    time = config.learning_rate * jnp.asarray(steps, float)
    moments = theory.noise_moments(time, float(config.model.dim), kappa)
    return Result(moments.signal, moments.opposite, theory.balance_growth(time, float(config.model.dim), kappa))


_LINEAR = Tolerance(
    0.05,
    reason="theory is linear: the erf saturates by V / (2 S), up to 9 %, and Euler steps lag by lambda^2 eta t = 6 %, which "
    "the growth of a offsets in part; in all 5 % at kappa = 0.1",
)
TOLERANCE = {
    "signal": _LINEAR,
    "opposite": _LINEAR,
    "imbalance": Tolerance(
        0.02,
        0.002,
        reason="theory holds a^2 fixed, which grows by up to 2 % by time 4; absolute: the population gradient takes steps "
        "too, which adds eta lambda (V - U) / 4 = 0.002 by time 4",
    ),
}
QUICK = {"model.dim": 16, "model.width": 32, "num_steps": 8}
GRID = {"batch_size": (1280, 128, 13)}
SEEDS = 64  # squares are heavy-tailed, and neurons share their noise
