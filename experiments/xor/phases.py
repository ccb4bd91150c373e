r"""SGD on XOR has two phases: neurons find the signal at rate 1/sqrt(2 pi), then grow along it at rate 1/(2 sqrt 2).

$$
\begin{align*}
\dot w &= \frac{a}{4} \sum_\mu y g\, \Phi\left(\frac{w\cdot\mu}{s}\right) \mu, \qquad g = \frac{2}{1 + e^{y f}} \\
\dot s &= \frac{a}{4} \sum_\mu y g\, \phi\left(\frac{w\cdot\mu}{s}\right)
  + \left(1 - \frac{2}{d}\right) \frac{\kappa a^2}{4 s} \sum_\mu g^2\, \Phi\left(\frac{w\cdot\mu}{s}\right) \\
\dot a &= \frac{1}{4} \sum_\mu y g\, \psi(w\cdot\mu, s), \qquad f(\mu) = \frac{1}{p} \sum_j a_j \psi(w_j\cdot\mu, s_j)
\end{align*}
$$

Sums are over the four sign pairs $\mu = (x_1, x_2)$ with label $y$; $w$ is in the plane, $s = \|w_\perp\|$ is `perp_norm`,
$\psi(u, s) = \mathbb{E} \operatorname{relu}(u + s z)$ with $z$ standard normal, and $\kappa = \eta d/(2 m)$. The prediction is
`theory.feature_learning.xor_finite_batch`, which takes steps of $\eta$ and adds the noise in the plane and the spread of $f$
within a cluster. While signals are small against $s$, they grow at the rate $a/(s\sqrt{2\pi})$; once they dominate, at
$1/(2\sqrt{2})$.

Source: Glasgow, arXiv 2309.15111 (the two phases); the curves are derived here
Cost: 25 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...contract import Count, Tolerance
from ...models.fully_connected import two_layer
from ...theory.feature_learning import xor_finite_batch, xor_mean_field
from . import _training


@dataclass(frozen=True)
class Config(_training.Config):
    record_every: Count = 5  # steps between two records


class Result(NamedTuple):
    """Root mean squares over the neurons."""

    signal: Float[Array, ""]  # w . mu_1 where a > 0, w . mu_2 where a < 0
    opposite: Float[Array, ""]  # the other of the two
    perp_norm: Float[Array, ""]  # norm of w outside the first two coordinates
    readout: Float[Array, ""]  # |a|


init, step = _training.init, _training.step


def steps(config: Config) -> np.ndarray:
    return np.arange(0, config.num_steps + 1, config.record_every)


def observe(state: _training.State, config: Config) -> Result:
    return Result(*(_rms(part) for part in two_layer.components(state.params)))


def predict(state: _training.State, config: Config, steps: np.ndarray) -> Result:
    """The mean-field system with minibatch noise, from the same initial weights at the same step size."""
    path = _training.noisy_mean_field(state, config, steps)
    return _result(path.w, xor_finite_batch.perp_norm(path), path.a)


def predict_noiseless(state: _training.State, config: Config, steps: np.ndarray) -> Result:
    """The closed mean-field system alone: infinite batch, no floor under the collapsing parts."""
    path = xor_mean_field.euler(_training.neurons(state.params), config.learning_rate, steps)
    return _result(path.w, path.s, path.a)


def _result(
    w_12: Float[Array, "step neuron 2"], perp_norm: Float[Array, "step neuron"], a: Float[Array, "step neuron"]
) -> Result:
    alpha, beta = w_12[..., 0] - w_12[..., 1], w_12[..., 0] + w_12[..., 1]
    signal, opposite = jnp.where(a > 0, alpha, beta), jnp.where(a > 0, beta, alpha)
    return Result(_rms(signal), _rms(opposite), _rms(perp_norm), _rms(a))


def _rms(values: Float[Array, "*batch neuron"]) -> Float[Array, "*batch"]:
    return jnp.sqrt(jnp.mean(values**2, axis=-1))


# w_perp . x_perp is a sum of dim - 2 signs, not a normal variable: its density at 0, and with it the rate lambda at which the
# signal grows, is lower by 3 / (4 dim) (Edgeworth, fourth cumulant -6 / dim). Over lambda T = 1.7 foldings of phase 1 the
# signal falls behind by 0.012 * 1.7 = 2 % at dim = 64.
TOLERANCE = {
    "signal": Tolerance(
        0.02,
        reason="w_perp . x_perp is a sum of dim - 2 signs, not normal, so the growth rate is 3 / (4 dim) = 1.2 % low over the "
        "1.7 foldings of phase 1",
    ),
    "opposite": Tolerance(
        0.03,
        reason="w_perp . x_perp is a sum of dim - 2 signs, not normal, so the decay rate is 3 / (4 dim) = 1.2 % low over 2.3 "
        "foldings",
    ),
    "perp_norm": Tolerance(
        0.05,
        reason="after the collapse theory adds the noise of different steps in quadrature, which is 4 to 6 % low",
    ),
    "readout": Tolerance(0.02, reason="the readout grows with the signal, which falls 2 % behind in phase 1"),
}
QUICK = {"model.dim": 16, "model.width": 32, "batch_size": 64, "num_steps": 20}
