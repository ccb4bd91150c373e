r"""The XOR network as a closed system of neurons in the plane of the label, with its output: phase 2, margins and loss.

Formula. Because $w_\perp$ stays isotropic over the neurons, the output depends on $x$ through the sign pair
$\mu = (x_1, x_2)$ alone. A neuron is $(w_1, w_2, s, a)$, and over the four sign pairs, with labels $y$,

$$
\begin{align*}
f(\mu) &= \operatorname{mean}_j\; a_j\, \psi(w_j \cdot \mu, s_j), \qquad g(\mu) = \frac{2}{1 + e^{y f}} \\
\text{loss} &= \operatorname{mean}_\mu\; 2\, \log\left(1 + e^{-y f}\right) \\
\frac{dw}{dt} &= \frac{a}{4} \sum_\mu y\, g\, \Phi\left(\frac{w \cdot \mu}{s}\right) \mu \\
\frac{ds}{dt} &= \frac{a}{4} \sum_\mu y\, g\, \phi\left(\frac{w \cdot \mu}{s}\right) \\
\frac{da}{dt} &= \frac{1}{4} \sum_\mu y\, g\, \psi(w \cdot \mu, s)
\end{align*}
$$

which is $-p$ times the gradient of the loss. Once the signals dominate, the margin $\gamma$ of each cluster moves alone:

$$
\begin{align*}
\frac{d\gamma}{dt} &= \frac{\sqrt{2} \gamma}{1 + e^\gamma} \\
F(\gamma(t)) &= F(\gamma(0)) + t, \qquad F(g) = \frac{\ln\, g + \operatorname{Ei}(g)}{\sqrt{2}}
\end{align*}
$$

so that the smaller margin catches up and $\gamma$ tends to $\ln(\sqrt{2} t\, \ln\, t)$: the length of phase 2 is a log log of
$d$.

Regime. Width $p$, dimension $d$ and batch size $\to \infty$, and $\eta \to 0$ at fixed $t$ (`euler` keeps a finite $\eta$).
$F$ assumes in addition that all of a neuron is signal: $w$ along one $\mu$, $s = 0$, $|a| = |w|$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $p$ | `neuron` | | number of hidden units, an axis |
| $w_{1:2}$ | `Neurons.w` | `neuron 2` | weights to the coordinates that make the label |
| $\vert w_\perp\vert$, $a$ | `Neurons.s`, `Neurons.a` | `neuron` | norm of the other weights; output weight |
| $\mu$, $y$ | `CLUSTERS`, `LABELS` | `4 2`, `4` | $+\mu_1$, $-\mu_1$ (label $+1$), $+\mu_2$, $-\mu_2$ (label $-1$) |
| $f$, $\gamma$ | `outputs`, `margins` | `4` | output at each cluster, and $y$ times it |
| $\eta$, $t$ | `learning_rate`, `time` | `()`, any | step size; $\eta$ times step (gradient-flow time) |
| $d$, $\theta$ | `dim`, `init_scale` | `()` | input dimension; $\vert w\vert = \vert a\vert$ at the start |
| $\gamma(t)$, $F$ | `margin`, `margin_time` | any | phase-2 margin and the time it takes, up to a constant |

Factors. As in `xor`: $f$ carries $1/p$ and the updates $p$; the loss carries a 2, so $g = 1$ at $f = 0$, where this is `xor`'s
drift.

Source. M. Glasgow, arXiv 2309.15111: abstract and public reviews read, body not. They say: in phase 2 the margins of the
four clusters grow and become balanced, within $\Theta(\log\,\log(d)/\eta)$ steps. Every formula of this file is derived here.

Finite size. At $d = 64$, $p = 512$, batch 4096, $\eta = 0.1$, $\theta = 0.1$ and equal initial weights SGD's loss is 1 % above
`euler` at the same $\eta$, up to $t = 28$; the curve of $\eta \to 0$ is up to 8 % lower. In SGD $s$ keeps a noise
floor.

Example. Two clusters start with margins 0.1 and 1: the ratio of their margins tends to 1.

>>> from closedform.theory.feature_learning import xor_mean_field
>>> for time in (0.0, 3.0, 10.0, 100.0):
...     small, large = (float(xor_mean_field.margin(time, start)) for start in (0.1, 1.0))
...     print(round(small, 2), round(large, 2), round(small / large, 2))
0.1 1.0 0.1
0.61 2.11 0.29
2.88 3.59 0.8
6.57 6.63 0.99
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import expi, ndtr
from jaxtyping import Array, Float, Int, Real

from ...documented import documented
from ..gaussian.relu_moments import relu_mean
from ..numerics.arguments import FINITE, ArrayLike, at_least, each, takes
from ..numerics.normal import pdf, pdf_difference, signed_mass, standardize
from ..numerics.recording import recorded
from ..numerics.roots import square_root
from .xor import typical_start

Number = Real[ArrayLike, ""]
Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together
Floats = Float[Array, "*shape"]

CLUSTERS: Float[np.ndarray, "4 2"] = np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [-1.0, -1.0]])
LABELS: Float[np.ndarray, "4"] = np.array([1.0, 1.0, -1.0, -1.0])  # y = -x_1 x_2


@documented
class Neurons(NamedTuple):
    """The mean-field state. `euler` returns one with the recorded steps on a leading axis: vmap the functions below over it."""

    w: Float[Array, "neuron 2"]  # w_{1:2}
    s: Float[Array, "neuron"]  # |w_perp| >= 0
    a: Float[Array, "neuron"]  # output weight


_NEURONS = each(Neurons, w=FINITE, s=at_least(0, finite=True), a=FINITE)


@takes(neurons=_NEURONS)
def outputs(neurons: Neurons) -> Float[Array, "4"]:
    """f at the four clusters, in the order of CLUSTERS."""
    projection, std = _projections(neurons)
    return jnp.mean(neurons.a[:, None] * relu_mean(projection, std), axis=0)


@takes(neurons=_NEURONS)
def margins(neurons: Neurons) -> Float[Array, "4"]:
    """y f at the four clusters: positive where the sign is right."""
    return jnp.asarray(LABELS, neurons.a.dtype) * outputs(neurons)


@takes(neurons=_NEURONS)
def loss(neurons: Neurons) -> Float[Array, ""]:
    """2 log(1 + exp(-y f)), averaged over the clusters; 2 ln 2 = 1.386 at the start."""
    return jnp.mean(2 * jax.nn.softplus(-margins(neurons)))


@takes(neurons=_NEURONS)
def drift(
    neurons: Neurons, *, train_weights: bool = True, train_readout: bool = True, negligible_output: bool = False
) -> Neurons:
    """Velocity of the state, 0 for weights that are not trained; `negligible_output` puts g = 1, the gradient at f = 0."""
    mu, y = jnp.asarray(CLUSTERS[::2], neurons.w.dtype), jnp.asarray(LABELS[::2], neurons.w.dtype)
    h = neurons.w @ mu.T
    ratio = standardize(h, neurons.s[:, None])
    g = _constant_slopes(y) if negligible_output else _slopes(y, outputs(neurons), jnp.mean(neurons.a[:, None] * h, axis=0))
    # The clusters cancel where w.mu is far below s. sum y g Phi over mu and -mu, and half the sum of y g phi over all four:
    side = y[None] * _difference(g.values[:, None], ndtr(jnp.stack([ratio, -ratio])), g.opposite[None], signed_mass(ratio))
    pull = _difference(jnp.mean(g.values, axis=0), pdf(ratio).T, g.labels, pdf_difference(*ratio.T))
    weights, readout = float(train_weights), float(train_readout)
    return Neurons(
        w=weights * neurons.a[:, None] / 4 * (side @ mu),
        s=weights * neurons.a / 2 * pull,
        a=readout * (jnp.sum(h * side, axis=1) / 4 + neurons.s / 2 * pull),  # psi(h, s) = h Phi(h/s) + s phi(h/s)
    )


@takes(neurons=_NEURONS, learning_rate=at_least(0, finite=True), steps=at_least(0))
def euler(
    neurons: Neurons,
    learning_rate: Number,
    steps: Int[np.ndarray, "step"],
    *,
    train_weights: bool = True,
    train_readout: bool = True,
    negligible_output: bool = False,
) -> Neurons:
    """The states after `steps` updates by learning_rate * drift, on a leading axis; `steps` is concrete, in any order.

    Where s collapses it is held at 1e-9 times the neuron's own initial |w|; its opposite component then chatters about
    0 with an amplitude of learning_rate * a/2, as it does under SGD.
    """
    floor = 1e-9 * square_root(jnp.sum(neurons.w**2, axis=1) + neurons.s**2)

    def update(step: Int[Array, ""], state: Neurons) -> Neurons:
        velocity = drift(state, train_weights=train_weights, train_readout=train_readout, negligible_output=negligible_output)
        state = jax.tree.map(lambda x, v: x + learning_rate * v, state, velocity)
        return state._replace(s=jnp.maximum(state.s, floor))

    return recorded(update, neurons, steps)


@takes(dim=at_least(2), init_scale=at_least(0, finite=True))
def typical_neurons(dim: Number, init_scale: Number) -> Neurons:
    """Eight neurons, components of root-mean-square size: alpha, beta = +-sqrt(2/d) theta, a = +-theta, all signs."""
    alpha, _, s, a = typical_start(dim, init_scale)
    signs = np.array([[i, j, k] for i in (1, -1) for j in (1, -1) for k in (1, -1)])
    in_plane = (signs[:, :1] * CLUSTERS[0] + signs[:, 1:2] * CLUSTERS[2]) / 2  # (alpha mu_1 + beta mu_2)/2
    return Neurons(
        w=alpha * jnp.asarray(in_plane, alpha.dtype),
        s=jnp.full(8, s),
        a=a * jnp.asarray(signs[:, 2], a.dtype),
    )


@takes(time=at_least(0), initial_margin=at_least(0))
def margin(time: Numbers, initial_margin: Numbers) -> Float[Array, "*shape"]:
    """The phase-2 margin gamma(t) of one cluster from gamma(0) >= 0, by inverting F; differentiable in both.

    Any time is allowed, infinity included. A margin of 0 stays 0. nan where a traced gamma(0) is negative.

    >>> round(float(margin(10.0, 0.1)), 4)
    2.8796
    """
    return _margin(*jnp.broadcast_arrays(time, initial_margin))


@takes(margin=at_least(0))
def margin_time(margin: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """F(gamma) = (ln gamma + Ei(gamma))/sqrt 2: from margin gamma_0 to gamma takes F(gamma) - F(gamma_0). F(0) = -infinity."""
    usual = (margin > 0) & jnp.isfinite(margin)
    gamma = jnp.where(usual, margin, 1)
    near, half = jnp.where(gamma < _FAR, gamma, 1), jnp.exp(gamma / 2)  # e^gamma overflows before Ei(gamma) does
    integral = jnp.where(gamma < _FAR, expi(near), half * _scaled_expi(gamma) * half)
    return jnp.where(usual, jnp.log(gamma) + integral, jnp.log(margin)) / math.sqrt(2)


@takes(time=at_least(0))
def margin_asymptote(time: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """ln(1 + sqrt(2) t ln(1 + t)) ~ ln(sqrt(2) t ln t), the limit of any phase-2 margin; 6 % off at t = 20 from margin 0.1."""
    early, late = jnp.where(time < 1, time, 0), jnp.where(time < 1, 1, time)  # the product overflows before the time does
    return jnp.where(
        time < 1,
        jnp.log1p(math.sqrt(2) * early * jnp.log1p(early)),
        jnp.log(late) + jnp.log(1 / late + math.sqrt(2) * jnp.log1p(late)),
    )


@jax.custom_jvp
def _margin(time: Float[Array, "*shape"], start: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    usual = (start > 0) & jnp.isfinite(start) & jnp.isfinite(time)
    t, gamma_0 = jnp.where(usual, time, 0), jnp.where(usual, start, 1)
    # F is increasing and convex in ln gamma, so Newton descends to the root from any bound above it. Two bounds: by
    # d ln gamma/dt <= 1/sqrt 2, and by d exp(gamma)/dt <= sqrt 2 gamma, where a bound of gamma on the right gives a closer one,
    # the first being gamma_0 + 0.4 t, for sqrt 2 gamma/(1 + exp gamma) < 0.4. Three times leave less than ln 2 above the root.
    log_time = jnp.log(math.sqrt(2) * t)
    late = gamma_0 + 0.4 * t
    for _ in range(3):
        late = jnp.logaddexp(gamma_0, log_time + jnp.log(late))
    above = jnp.minimum(gamma_0 * jnp.exp(t / math.sqrt(2)), late)
    # F(gamma) = F(gamma_0) + t, times sqrt 2 exp(-above): nothing overflows.
    gone = _scaled_expi(gamma_0) * jnp.exp(gamma_0 - above) + jnp.exp(log_time - above)

    def newton(_: Int[Array, ""], gamma: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        grown = jnp.exp(gamma - above)
        excess = _scaled_expi(gamma) * grown - gone + jnp.exp(-above) * (jnp.log(gamma) - jnp.log(gamma_0))
        return gamma * jnp.exp(-excess / (grown + jnp.exp(-above)))

    found = jax.lax.fori_loop(0, 16, newton, above)
    limit = jnp.where(start < 0, jnp.nan, jnp.where(start > 0, jnp.inf, 0))  # at infinite time or margin, and at margin 0
    return jnp.where(usual, found, limit)


@_margin.defjvp
def _margin_jvp(primals, tangents):
    """d gamma/dt = sqrt 2 gamma/(1 + e^gamma); d gamma/d gamma_0 is this rate at gamma over that at gamma_0, 0 at infinity."""
    (t, start), gamma = primals, _margin(*primals)
    usual = (start > 0) & (gamma < jnp.inf)
    one, other = jnp.where(usual, gamma, 1), jnp.where(usual, start, 1)
    rate = jnp.where(usual, math.sqrt(2) * one * jax.nn.sigmoid(-one), 0)
    ratio = one / other * jnp.exp(jax.nn.softplus(other) - jax.nn.softplus(one))
    slope = jnp.where(usual, ratio, jnp.where(start > 0, 0, jnp.exp(t / math.sqrt(2))))
    return gamma, rate * tangents[0] + slope * tangents[1]


_FAR = 50.0  # where the last of 20 terms of the asymptotic series of Ei, 20!/50^20 of the first, is below 2^-51


def _scaled_expi(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """exp(-x) Ei(x) for x > 0, which does not overflow."""
    near, inverse = jnp.where(x < _FAR, x, 1), 1 / jnp.where(x < _FAR, _FAR, x)
    series = jnp.ones_like(x)
    for k in range(20, 0, -1):  # (1/x) (1 + 1/x (1 + 2/x (1 + 3/x (1 + ...
        series = 1 + k * inverse * series
    return jnp.where(x < _FAR, jnp.exp(-near) * expi(near), inverse * series)


class _Slopes(NamedTuple):
    """g, and differences that do not cancel."""

    values: Float[Array, "2 2"]  # at mu (row 0) and -mu (row 1), for mu_1 and mu_2
    opposite: Float[Array, "2"]  # of mu and -mu
    labels: Float[Array, ""]  # of the means over the clusters of the two labels


def _constant_slopes(y: Float[Array, "2"]) -> _Slopes:
    return _Slopes(jnp.ones((2, 2), y.dtype), jnp.zeros_like(y), jnp.zeros_like(y[0]))


def _slopes(y: Float[Array, "2"], outputs: Float[Array, "4"], across: Float[Array, "2"]) -> _Slopes:
    """From the outputs and f(mu) - f(-mu) = mean a h, as psi(h, s) - psi(-h, s) = h."""
    f = outputs.reshape(2, 2).T
    z = -y[None] * f
    return _Slopes(
        values=2 * jax.nn.sigmoid(z),
        opposite=2 * _sigmoid_difference(z[0], z[1], -y * across),
        labels=jnp.sum(_sigmoid_difference(z[:, 0], z[:, 1], -f[:, 0] - f[:, 1])),
    )


def _sigmoid_difference(x: Floats, y: Floats, gap: Floats) -> Floats:
    """sigmoid(x) - sigmoid(y), from x - y."""
    (on, off), (other_on, other_off) = ((jax.nn.sigmoid(z), jax.nn.sigmoid(-z)) for z in (x, y))
    return jnp.tanh(gap / 2) * (on * other_off + off * other_on)


def _difference(x: Float[Array, "2 ..."], y: Float[Array, "2 ..."], x_gap: Float[Array, "..."], y_gap: Floats) -> Floats:
    """x[0] y[0] - x[1] y[1] of positive numbers, from x[0] - x[1] and y[0] - y[1]: no term exceeds x[0] y[0] or x[1] y[1]."""
    return jnp.where(y_gap > 0, x[0] * y_gap + x_gap * y[1], x[1] * y_gap + x_gap * y[0])


def _projections(neurons: Neurons) -> tuple[Float[Array, "neuron 4"], Float[Array, "neuron 1"]]:
    return neurons.w @ jnp.asarray(CLUSTERS.T, neurons.w.dtype), neurons.s[:, None]
