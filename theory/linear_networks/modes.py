r"""Training of a deep linear network, mode by mode: every mode in closed form at any depth, and its share of a layer.

Formula. With white inputs of variance $p$ along a mode, a target $t$, and a balanced, aligned start of strength $u_0$ of the
product of $L$ layers, gradient flow on $\tfrac12 \mathbb{E} |y - f(x)|^2$ is

$$
\frac{du}{d\tau} = L\, u^{2 - 2/L}\, p\, (t - u)
$$

For $L = 1$ and $L = 2$

$$
u = t + (u_0 - t)\, e^{-p \tau}, \qquad u = \frac{t}{1 + (t/u_0 - 1)\, e^{-2 p t \tau}}
$$

and for $L \geq 3$, with $w = (u/t)^{1/L}$ and the $L$-th roots of unity $\omega_k$,

$$
p\, t^{2 - 2/L}\, \tau = \Phi(w) - \Phi(w_0), \qquad
\Phi(w) = -\frac{w^{2 - L}}{L - 2} - \frac{1}{L} \operatorname{Re} \sum_k \omega_k^2 \ln (1 - w\, \bar\omega_k)
$$

from $\int dw\, w^{1 - L}/(1 - w^L)$ by partial fractions. A small start is left after

$$
\tau \approx \frac{\ln (t/u_0)}{2 p t} \quad (L = 2), \qquad \tau \approx \frac{u_0^{-(L-2)/L}}{(L - 2)\, p t} \quad (L \geq 3)
$$

The representation of layer $l$ that has learned the targets $t_i$ (balanced, or from a vanishing start) is
$z_i \propto t_i^{l/L} x_i$, so that mode $i$ has of its variance the share

$$
\frac{t_i^{2 l/L} p_i}{\sum_j t_j^{2 l/L} p_j}
$$

Regime. Exact for gradient flow (steps $\to 0$), for every width that holds the modes. Inputs are uncorrelated between modes.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\tau$ | `time` | any | `learning_rate` times steps as the rate goes to 0 |
| $t$ | `target` | any | strength of the mode in the target, at least 0: a singular value |
| $p$ | `variance` | any | of the input along the mode; $s = t p$ is the singular value of $\mathbb{E}\, y x^\top$ |
| $u$, $u_0$ | `initial` is $u_0$ | any | strength in the product of all layers; at time 0, at least 0 |
| $L$ | `depth` | | layers of weights, a plain integer |
| $l$ | `layer` | | from 0, the input, to `depth`, the output |

Factors. The loss has a factor 1/2; without it the time counts half.

Source. A. Saxe et al., arXiv 1312.6120 (the equation of a mode and its solution at two layers, recalled). The solution for
other depths, the times and the shares are derived here, and checked against numerical integration and gradient descent.

Finite size. None. A step of size $\eta$ lags behind the flow; a mode of strength $s$ at two layers by $\eta s^2 \tau/4$ of its
strength while it grows.

Example. The deeper the network, the longer a small start is not left:

>>> from closedform.theory.linear_networks.modes import half_time
>>> [round(float(half_time(1.0, 1e-3, depth)), 3) for depth in (1, 2, 3, 4)]
[0.692, 3.453, 9.145, 15.529]
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import ArrayLike, above, at_least, between, takes
from ..numerics.exponentials import saturating
from ..numerics.roots import climb_to_root

Numbers = Real[ArrayLike, "*#shape"]
Floats = Float[Array, "*shape"]

_NON_NEGATIVE = at_least(0, finite=True)
_POSITIVE = above(0, finite=True)
_ARRIVED = 60.0  # a mode within exp(-60) of its target, as a share of it, is there to rounding
_TERMS = 26  # of a series whose factors are below 1/4


@takes(time=at_least(0), target=_NON_NEGATIVE, initial=_NON_NEGATIVE, depth=at_least(1), variance=_NON_NEGATIVE)
def mode_strength(
    time: Numbers, target: Numbers, initial: Numbers, depth: int, variance: Numbers = 1.0
) -> Float[Array, "*#shape"]:
    """u at each time, infinity included. A start of 0 stays there unless there is one layer; one above the target falls to it.

    For curves of many modes times get an axis of their own: `mode_strength(time[:, None], spectrum, initial, depth)`.

    >>> [round(float(mode_strength(time, 2.0, 0.01, 3)), 4) for time in (0, 1, jnp.inf)]
    [0.01, 0.0528, 2.0]
    """
    time, target, initial, variance = jnp.broadcast_arrays(time, target, initial, variance)
    endless = jnp.isinf(time)
    elapsed = variance * jnp.where(endless, 0, time)
    if depth == 1:
        strength = target + (initial - target) * jnp.exp(-elapsed)
    elif depth == 2:
        strength = initial / (jnp.exp(-2 * target * elapsed) + initial * saturating(2 * elapsed, target))
    else:
        strength = _deep_strength(elapsed, target, initial, depth)
    moves = (variance > 0) & ((initial > 0) | (depth == 1))
    return jnp.where(endless, jnp.where(moves, target, initial), strength)


@takes(
    target=_NON_NEGATIVE,
    initial=_NON_NEGATIVE,
    depth=at_least(1),
    share=between(0, 1, low_open=True, high_open=True),
    variance=_NON_NEGATIVE,
)
def half_time(
    target: Numbers, initial: Numbers, depth: int, share: Numbers = 0.5, variance: Numbers = 1.0
) -> Float[Array, "*#shape"]:
    """The time at which u reaches a share of the target, one half by default; 0 where it starts at or beyond that share.

    Infinite where the mode never leaves a start of 0 (two layers or more), and where the variance is 0.

    >>> round(float(half_time(1.0, 1e-5, 4)), 3)  # two layers need 5.756
    157.846
    """
    target, initial, share, variance = jnp.broadcast_arrays(target, initial, share, variance)
    late = initial >= share * target
    moves = ~late & (variance > 0) & ((initial > 0) | (depth == 1))
    goal = jnp.where(moves, target, 1)
    start = jnp.where(moves, initial / goal, share / 2)
    if depth == 1:
        time = jnp.log1p(-start) - jnp.log1p(-share)
    elif depth == 2:
        time = (jnp.log(share / start) + jnp.log1p(-start) - jnp.log1p(-share)) / 2
    else:
        time = _rise(*_layer_of(jnp.log(share), depth), depth) - _rise(*_layer_of(jnp.log(start), depth), depth)
    rate = jnp.where(moves, variance, 1) * goal ** (2 - 2 / depth)
    return jnp.where(moves, time / rate, jnp.where(late, 0, jnp.inf))


@takes(target=_POSITIVE, initial=_POSITIVE, depth=at_least(2), variance=_POSITIVE)
def small_start_time(target: Numbers, initial: Numbers, depth: int, variance: Numbers = 1.0) -> Float[Array, "*#shape"]:
    """The leading law of `half_time` as the start goes to 0: ln(t/u_0)/(2 p t) at two layers, else u_0^{-(L-2)/L}/((L-2) p t).

    >>> round(float(small_start_time(1.0, 1e-5, 4)), 3)
    158.114
    """
    waiting = jnp.log(target / initial) / 2 if depth == 2 else initial ** (2 / depth - 1) / (depth - 2)
    return waiting / (variance * target)


@takes(targets=_NON_NEGATIVE, variances=_NON_NEGATIVE, layer=at_least(0), depth=at_least(1))
def layer_share(
    targets: Real[ArrayLike, "mode"], variances: Real[ArrayLike, "mode"], layer: int, depth: int
) -> Float[Array, "mode"]:
    """The share of the variance of a layer that each mode has once the targets are learned; of the input for layer 0.

    With the strengths u_i at some time in place of the targets, the shares at that time. All 0 where no mode has any variance.
    Raises ValueError for a layer beyond the depth.

    >>> [round(float(share), 4) for share in layer_share([2, 1], [1, 1], 1, 2)]
    [0.6667, 0.3333]
    """
    if layer > depth:
        raise ValueError(f"layer must be at most the depth {depth}, got {layer}")
    largest = jax.lax.stop_gradient(jnp.max(targets, initial=0))
    relative = targets / jnp.where(largest > 0, largest, 1)  # nothing overflows
    present = relative > 0
    gain = jnp.where(present, jnp.where(present, relative, 1) ** (2 * layer / depth), 0) if layer else jnp.ones_like(relative)
    variance = gain * variances
    total = jnp.sum(variance)
    return variance / jnp.where(total > 0, total, 1)


def _deep_strength(elapsed: Floats, target: Floats, initial: Floats, depth: int) -> Floats:
    """u after a finite time of variance 1, for three layers or more: the root of the solution in the docstring."""
    exponent = 2 - 2 / depth
    started, aimed = initial > 0, target > 0
    rests = started & aimed & (initial == target)
    moves = started & aimed & ~rests
    t = jnp.where(aimed, target, 1)
    x0 = jnp.where(moves, initial / t, 0.5)
    scaled = jnp.where(moves, elapsed * t**exponent, 0)
    falls = x0 > 1
    # Odds ln x/(1 - x) of a rising mode, or ln (x - 1) of a falling one: all of the way is resolved.
    odds = jnp.log(x0) - jnp.log1p(-jnp.where(falls, 0, x0))
    odds = jnp.where(falls, jnp.log(jnp.where(falls, x0 - 1, 1)), odds)
    way = jnp.where(falls, odds + _ARRIVED, _ARRIVED - odds)

    def log_share(y: Floats) -> Floats:
        """ln x of a rising mode, -ln x of a falling one, at most 0, y - 1 of the way up is done, or of that down left."""
        return jnp.where(falls, -jax.nn.softplus(y - 1 - _ARRIVED), jax.nn.log_sigmoid(odds + y - 1))

    def gone(log_x: Floats) -> Floats:
        layer = _layer_of(log_x, depth)
        return jnp.where(falls, -_fall(*layer, depth), _rise(*layer, depth))

    log_x0 = jnp.where(falls, -jnp.log(x0), jnp.log(x0))
    first = gone(log_x0)

    def excess(y: Floats) -> Floats:
        return gone(log_share(y)) - first - jnp.where(falls, -scaled, scaled)

    def slope(y: Floats) -> Floats:
        return jnp.exp(jnp.where(falls, exponent, 1 - exponent) * log_share(y)) / depth

    one = jnp.ones_like(way)
    # a rising mode gains at least L of odds a unit of time
    high = 1 + jnp.where(falls, way, jnp.minimum(depth * scaled, way))
    log_x = log_share(climb_to_root(excess, slope, one, high, 2 + way))
    moved = t * jnp.exp(jnp.where(falls, -log_x, log_x))
    # near its target a mode decays exponentially; towards a target of 0 by a power of time
    near = target + (initial - target) * jnp.exp(-depth * elapsed * t**exponent)
    power = exponent * jnp.log(jnp.where(started, initial, 1)) + jnp.log(depth * exponent * elapsed)
    kept = jnp.exp(-jax.nn.softplus(power) / exponent)
    lost = initial * kept + target * (1 - kept ** (1 + exponent)) / (1 + exponent)  # to first order in the target
    return jnp.where(moves, moved, jnp.where(rests, near, jnp.where(started, lost, initial)))


def _layer_of(log_x: Floats, depth: int) -> tuple[Floats, Floats]:
    """w = x^{1/L} and 1 - w, from ln x at most 0."""
    return jnp.exp(log_x / depth), -jnp.expm1(log_x / depth)


def _rise(w: Floats, gap: Floats, depth: int) -> Floats:
    """The integral of w^{1-L}/(1 - w^L) up to a constant, 0 < w < 1, gap = 1 - w."""
    return -(w ** (2 - depth)) / (depth - 2) + _logarithms(w, gap, 2, depth)


def _fall(v: Floats, gap: Floats, depth: int) -> Floats:
    """The integral of v^{2L-3}/(1 - v^L) from 0: the same law above the target, in v = 1/w."""
    small = v**depth < 0.25
    y, series = jnp.where(small, v, 0) ** depth, jnp.zeros_like(v)
    for k in reversed(range(_TERMS)):
        series = series * y + 1 / (2 * depth - 2 + k * depth)
    logarithms = -(v ** (depth - 2)) / (depth - 2) + _logarithms(jnp.where(small, 0.5, v), gap, -2, depth)
    return jnp.where(small, v ** (2 * depth - 2) * series, logarithms)


def _logarithms(v: Floats, gap: Floats, power: int, depth: int) -> Floats:
    """-1/L of the real part of the sum of omega^power ln(1 - v/omega) over the L-th roots of unity."""
    total = jnp.log(gap)
    for k in range(1, depth // 2 + 1):
        angle = 2 * jnp.pi * k / depth
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        log_size, argument = jnp.log1p(v * (v - 2 * cosine)) / 2, jnp.arctan2(v * sine, 1 - v * cosine)
        term = jnp.cos(power * angle) * log_size - jnp.sin(power * angle) * argument
        total = total + (1 if 2 * k == depth else 2) * term
    return -total / depth
