r"""Phase 1 takes a time of ln(d)/(2 lambda), after which the signal exceeds the other coordinates.

$$
\begin{align*}
\dot\alpha &= \frac{a}{2} \operatorname{erf}\left(\frac{\alpha}{s\sqrt{2}}\right), \qquad
\dot\beta = -\frac{a}{2} \operatorname{erf}\left(\frac{\beta}{s\sqrt{2}}\right) \\
\dot s &= \frac{a}{2} \left[ \phi(\alpha/s) - \phi(\beta/s) \right] + \frac{\kappa a^2}{2 s} \\
\dot a &= \frac{1}{2} \left[ \psi(\alpha, s) - \frac{\alpha}{2} - \psi(\beta, s) + \frac{\beta}{2} \right] \\
\alpha(T) &= s(T), \qquad T \approx \frac{\ln d}{2\lambda} - 1.21 \quad \text{for } \kappa = 0 \text{ and large } d
\end{align*}
$$

The fields are $T$, $\alpha(T)$ and $a(T)$, for the start $\alpha = \beta = \sqrt{2/d}$, $\|w\| = a = 1$ in units of
`init_scale`. Here $\alpha$ is the signal, $\beta$ the opposite component, $s = \|w_\perp\|$, $\kappa = \eta d/(2 m)$,
$\lambda = 1/\sqrt{2\pi}$, and $\psi(u, s) = \mathbb{E} \operatorname{relu}(u + s z)$ with $z$ standard normal.

Source: Glasgow, arXiv 2309.15111 (length of order log d); the constant and the table of times are derived here
Cost: 45 s
"""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Le
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Positive, Static, Tolerance, check
from ...models.fully_connected import two_layer
from ...theory.feature_learning import xor as theory
from . import _training


@dataclass(frozen=True)
class Config:
    model: two_layer.Config = field(default_factory=lambda: two_layer.Config(dim=64, width=32, init_scale=0.05))
    learning_rate: Annotated[Positive, Static] = 0.04  # mean-field step size (paper: eta)
    batch_noise: Annotated[Positive, Le(1.6), Static] = 0.008  # kappa = eta d / (2 m), sets m; above 1.6 there is no crossing
    max_time: Annotated[Positive, Static] = 20.0  # a training that reaches this time without a crossing gives NaN

    def __post_init__(self):
        check(self)
        if self.model.dim < 5:
            raise ValueError(f"model.dim must be at least 5 (below, the signal starts above the rest), got {self.model.dim}")

    @property
    def training(self) -> _training.Config:
        return _training.with_noise(self.model, self.learning_rate, self.batch_noise)


class Result(NamedTuple):
    """Averages over the neurons, at the time at which the mean signal equals the mean norm of w_perp."""

    time: Float[Array, ""]  # learning_rate * step, interpolated between two steps
    signal: Float[Array, ""]  # in units of init_scale
    readout: Float[Array, ""]  # |a| in units of init_scale


class _Crossing(NamedTuple):
    state: _training.State
    step: Float[Array, ""]
    before: Float[Array, "3"]
    now: Float[Array, "3"]  # mean signal, mean perp_norm, mean |a|


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    training = config.training

    def means(state: _training.State) -> Float[Array, "3"]:
        signal, _, perp_norm, a = two_layer.components(state.params)
        return jnp.stack([jnp.mean(signal), jnp.mean(perp_norm), jnp.mean(jnp.abs(a))])

    def advance(at: _Crossing) -> _Crossing:
        state = _training.step(at.state, training)
        return _Crossing(state, at.step + 1, at.now, means(state))

    start = _training.State(typical(key, config.model), *jax.random.split(key))
    last = config.max_time / config.learning_rate
    first = _Crossing(start, jnp.zeros(()), means(start), means(start))
    # training ends at the crossing, whose time is the result, so the engine cannot know its length
    end = jax.lax.while_loop(lambda at: (at.now[0] < at.now[1]) & (at.step < last), advance, first)
    excess = jnp.log(end.before[0] / end.before[1]), jnp.log(end.now[0] / end.now[1])
    share = jnp.where(excess[1] >= 0, excess[0] / (excess[0] - excess[1]), jnp.nan)  # NaN: never crossed
    signal, _, readout = (end.before + share * (end.now - end.before)) / config.model.init_scale
    return Result(config.learning_rate * (end.step - 1 + share), signal, readout)


def typical(key: PRNGKeyArray, model: two_layer.Config) -> two_layer.Params:
    """Neurons whose components have exactly their root-mean-square size: |w . mu| = sqrt(2 / dim), random signs and w_perp.

    The signal starts positive in every neuron, since a neuron with the other sign only reflects it.
    """
    w, a = two_layer.init(key, model)
    perp = w.at[:2].set(0)
    alpha = jnp.sqrt(2 / model.dim) * model.init_scale
    sign = jax.random.rademacher(jax.random.fold_in(key, 1), a.shape, w.dtype)
    first, second = jnp.where(a > 0, alpha, sign * alpha), jnp.where(a > 0, sign * alpha, alpha)
    plane = jnp.stack([(first + second) / 2, (second - first) / 2])
    perp = perp * (jnp.sqrt(1 - 2 / model.dim) * model.init_scale / jnp.linalg.norm(perp, axis=0, keepdims=True))
    return two_layer.Params(perp.at[:2].set(plane), a)


def predict(config: Config) -> Result:
    """The small-network ODE, SGD noise included, from the same start in the limit of many neurons and small steps."""
    kappa = config.learning_rate * config.model.dim / (2 * config.training.batch_size)
    time, neuron = theory.phase1_length(float(config.model.dim), kappa)
    return Result(time, neuron.alpha, neuron.a)


_AT_CROSSING = Tolerance(
    0.005,
    reason="a size at the crossing depends on ratios of rates alone, not on the time it took: corrections of order 1 / dim",
)
TOLERANCE = {
    "time": Tolerance(
        0.02,
        reason="Euler steps of eta delay growth by lambda eta / 2 = 0.8 %, and signs in place of normal coordinates by "
        "3 / (4 dim), at most 1.2 %",
    ),
    "signal": _AT_CROSSING,
    "readout": _AT_CROSSING,
}
QUICK = {"model.dim": 16, "model.width": 8, "learning_rate": 0.2, "batch_noise": 0.05}
GRID = {"model.dim": (64, 128, 256, 512, 1024)}
PRESETS = {"small_steps": {"learning_rate": 0.005}}
