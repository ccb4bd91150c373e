r"""How a two-layer linear network learns a feature by contrast: its strength at any time, and with weight decay.

Formula. On the spectral contrastive loss, a feature of which the clean signal has the standard deviation $\phi$ and the
augmentation $\sigma$ has the strength $b$ in $W_2 W_1$; with $S = \phi^2 + \sigma^2$,

$$
\begin{align*}
\frac{db}{dt} &= 8\, b^2 (\phi^2 - S^2 b^2) \\
8\, \phi^2 t &= \left[ -\frac{1}{b} + \frac{S}{\phi} \operatorname{artanh} \frac{S b}{\phi} \right]_{b(0)}^{b(t)}
\end{align*}
$$

It ends at $\phi/S$. A penalty $\lambda (\|W_1\|^2 + \|W_2\|^2)$ leaves the strengths $b = 0$ and the roots of

$$
4 S^2 b^3 - 4 \phi^2 b + 2 \lambda = 0
$$

The larger positive root is stable, the smaller one is the barrier above which a mode has to start to get there. They exist for
$\lambda \leq 4 \phi^3/(3 \sqrt 3\, S)$.

Regime. Population loss and gradient flow, two layers, from a balanced start, $W_2^\top W_2 = W_1 W_1^\top$, that is diagonal in
the features.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\phi$ | `signal` | any | standard deviation of the feature |
| $\sigma$ | `noise_std` | any | standard deviation of the augmentation along it |
| $b$, $b(0)$ | `strength`, `initial` | any | strength of the feature in $W_2 W_1$ |
| $\lambda$ | `weight_decay` | any | factor of the squared norms of both layers |

Factors. Neither term of the loss (see `contrastive`) has a factor 1/2, nor has the penalty; time is learning rate times steps.
Half the loss doubles the times, and the critical weight decay is half as large.

Source. Y. Xue et al., "Investigating the benefits of projection head for representation learning", arXiv 2403.11391: the model.
All formulas are derived here and checked against numerical integration and gradient descent.

Finite size. None for population covariances.

Example. Of two features of equal signal, the one that augmentation moves less ends stronger:

>>> from closedform.theory.linear_networks import contrastive_modes
>>> [round(float(contrastive_modes.mode_strength(5, 1, noise, 0.1)), 2) for noise in (0, 1)]
[1.0, 0.5]
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import ArrayLike, above, at_least, takes
from ..numerics.exponentials import bounded

Numbers = Real[ArrayLike, "*#shape"]
SIZE = at_least(0, finite=True)


@documented
class Roots(NamedTuple):
    """Strengths at which gradient flow with weight decay rests, apart from 0."""

    stable: Float[Array, "*shape"]  # where a mode from above the barrier ends; 0 where there is no such rest
    barrier: Float[Array, "*shape"]  # from below it a mode ends at 0; infinite where every mode does


# ------------------------------------------------------------------------------------------------------ time course


@takes(signal=SIZE, noise_std=SIZE)
def end_strength(signal: Numbers, noise_std: Numbers) -> Float[Array, "*#shape"]:
    """phi/(phi^2 + sigma^2), the strength after infinite time without weight decay; 0 without signal.

    >>> float(end_strength(1, 1))
    0.5
    """
    unit = jax.lax.stop_gradient(jnp.maximum(signal, noise_std))  # which the strength does not depend on
    unit = jnp.where(unit > 0, unit, 1)
    phi, sigma = signal / unit, noise_std / unit
    square = phi**2 + sigma**2
    return phi / jnp.where(square > 0, square, 1) / unit


@takes(time=at_least(0), signal=SIZE, noise_std=SIZE, initial=SIZE)
def mode_strength(time: Numbers, signal: Numbers, noise_std: Numbers, initial: Numbers) -> Float[Array, "*#shape"]:
    """b(t) from b(0); it ends at phi/(phi^2 + sigma^2), from above or below. A start of 0 stays there.

    Without signal the strength decays as (b(0)^-3 + 24 sigma^4 t)^(-1/3).

    >>> [round(float(mode_strength(time, 1, 1, 0.1)), 4) for time in (0, 1, jnp.inf)]
    [0.1, 0.3209, 0.5]
    """
    t, phi, sigma, b0 = jnp.broadcast_arrays(bounded(time), signal, noise_std, initial)
    moves = (phi > 0) & (b0 > 0)
    end, rate = _end_and_rate(jnp.where(moves, phi, 1), sigma)
    u0 = jnp.where(moves, b0, 1) / end
    elapsed = rate * t
    rises, falls = u0 < 1, u0 > 1
    low, high = jnp.where(rises, u0, 0.5), jnp.where(falls, u0, 2)
    risen = jnp.tanh(_rising(_antiderivative_below(low) + elapsed))
    fallen = 1 / jnp.tanh(_falling(_antiderivative_above(high) + elapsed))
    learned = end * jnp.where(rises, risen, jnp.where(falls, fallen, 1))
    return jnp.where(moves, learned, b0 * (1 + 24 * sigma**4 * b0**3 * t) ** (-1 / 3))


@takes(strength=SIZE, signal=above(0, finite=True), noise_std=SIZE, initial=above(0, finite=True))
def mode_time(strength: Numbers, signal: Numbers, noise_std: Numbers, initial: Numbers) -> Float[Array, "*#shape"]:
    """t at which the strength b(t) is reached from b(0); negative where the flow comes from there.

    Infinite at the end phi/(phi^2 + sigma^2), minus infinite at 0. Infinite also for a strength beyond the end,
    which the flow from b(0) does not meet.

    >>> round(float(mode_time(0.3209, 1, 1, 0.1)), 3)
    1.0
    """
    b, phi, sigma, b0 = jnp.broadcast_arrays(strength, signal, noise_std, initial)
    end, rate = _end_and_rate(phi, sigma)
    u, u0 = b / end, b0 / end

    def elapsed(u: Array) -> Array:
        inside = (u > 0) & (u != 1)
        low, high = jnp.where(inside & (u < 1), u, 0.5), jnp.where(inside & (u > 1), u, 2)
        reached = jnp.where(u < 1, _antiderivative_below(low), _antiderivative_above(high))
        return jnp.where(inside, reached, jnp.where(u > 0, jnp.inf, -jnp.inf))

    rests = (u == 1) & (u0 == 1)  # at the end from the start on
    apart = jnp.where(rests, 0, elapsed(jnp.where(rests, 0.5, u)) - elapsed(jnp.where(u0 == 1, 0.5, u0)))
    met = ((u - 1) * (u0 - 1) > 0) | ((u == 1) & (u0 != 1)) | rests
    return jnp.where(met, apart / rate, jnp.inf)


@takes(signal=SIZE, initial=SIZE)
def switch_time(signal: Numbers, initial: Numbers) -> Float[Array, "*#shape"]:
    """1/(8 phi^2 b(0)), at which a small start takes off: leading order of `mode_time`. Infinite without start or signal.

    >>> float(switch_time(1, 0.125))
    1.0
    """
    return 1 / (8 * signal**2 * initial)


def _end_and_rate(signal: Array, noise_std: Array) -> tuple[Array, Array]:
    """phi/S, and the factor of time in d(u)/d(rate t) = u^2 (1 - u^2), u = S b/phi: 8 phi^3/S."""
    end = end_strength(signal, noise_std)
    return end, 8 * signal**2 * end


def _antiderivative_below(u: Array) -> Array:
    """Of 1/(u^2 (1 - u^2)) for 0 < u < 1: w - coth w with u = tanh w."""
    return jnp.arctanh(u) - 1 / u


def _antiderivative_above(u: Array) -> Array:
    """Of 1/(u^2 (1 - u^2)) for u > 1: w - tanh w with u = coth w."""
    return _less_tanh(jnp.arctanh(1 / u))


def _less_tanh(w: Array) -> Array:
    """w - tanh w without cancellation: Lambert's continued fraction tanh w = w/(1 + w^2/(3 + w^2/(5 + ..)))."""
    square = jnp.minimum(w, 1) ** 2
    below = jnp.full_like(w, 21.0)  # by 1/(3 5 .. 21)^2 the next term is below rounding up to w = 1
    for odd in range(19, 1, -2):
        below = odd + square / below
    return jnp.where(w < 1, jnp.minimum(w, 1) * square / (below + square), w - jnp.tanh(w))


@jax.custom_jvp
def _rising(g: Array) -> Array:
    """w > 0 with w - coth w = g. The function rises and is concave, so that Newton's steps rise from a start below the root."""
    w = jnp.where(g < 1, 2 / (jnp.hypot(g, 2) - jnp.minimum(g, 1)), 0)  # coth w > 1/w
    w = jnp.maximum(w, g + 1)  # coth w > 1

    def newton(_, w: Array) -> Array:
        slope = jnp.tanh(w)  # 1/coth w, whose square is the inverse of the slope
        return w - ((w - g) * slope - 1) * slope

    return jax.lax.fori_loop(0, 6, newton, w)


@_rising.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    w = _rising(*primals)
    return w, jnp.tanh(w) ** 2 * tangents[0]


@jax.custom_jvp
def _falling(g: Array) -> Array:
    """w > 0 with w - tanh w = g >= 0. The function rises and is convex, so that Newton's steps fall from above the root."""
    # tanh w < 1, and tanh w < w/(1 + w^2/(3 + w^2/5)), from which w^3 < g (3 + 1.2 w^2)
    w = jnp.minimum(g + 1, 1.2 * g + jnp.cbrt(3 * g))

    def newton(_, w: Array) -> Array:
        slope = jnp.tanh(w) ** 2
        return w - (_less_tanh(w) - g) / jnp.where(slope > 0, slope, 1)

    return jax.lax.fori_loop(0, 6, newton, w)


@_falling.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    w = _falling(*primals)
    slope = jnp.tanh(w) ** 2
    return w, tangents[0] / jnp.where(slope > 0, slope, 1)


# ------------------------------------------------------------------------------------------------------- weight decay


@takes(signal=SIZE, noise_std=SIZE)
def critical_weight_decay(signal: Numbers, noise_std: Numbers) -> Float[Array, "*#shape"]:
    """4 phi^3/(3 sqrt 3 (phi^2 + sigma^2)): with a larger weight decay the feature is lost from any start.

    >>> round(float(critical_weight_decay(1, 0)), 4)
    0.7698
    """
    return 4 / (3 * math.sqrt(3)) * signal**2 * end_strength(signal, noise_std)


@takes(signal=SIZE, noise_std=SIZE, weight_decay=SIZE)
def decay_roots(signal: Numbers, noise_std: Numbers, weight_decay: Numbers) -> Roots:
    """The positive roots of 4 S^2 b^3 - 4 phi^2 b + 2 lambda = 0, from sines of a third of an angle.

    >>> [round(float(root), 4) for root in decay_roots(2, 0.3**0.5, 0.3)]
    [0.4451, 0.0377]
    >>> [float(root) for root in decay_roots(1, 0, 1)]  # beyond the critical weight decay
    [0.0, inf]
    """
    phi, sigma, decay = jnp.broadcast_arrays(signal, noise_std, weight_decay)
    critical = critical_weight_decay(phi, sigma)
    exist = (phi > 0) & (decay <= critical)
    share = jnp.where(exist, decay / jnp.where(exist, critical, 1), 0)
    angle = jnp.arcsin(share) / 3  # of the sine of three times the angle
    scale = 2 / math.sqrt(3) * end_strength(phi, sigma)
    return Roots(jnp.where(exist, scale * jnp.cos(math.pi / 6 + angle), 0), jnp.where(exist, scale * jnp.sin(angle), jnp.inf))


@takes(initial=SIZE, signal=SIZE, noise_std=SIZE, weight_decay=SIZE)
def decayed_strength(initial: Numbers, signal: Numbers, noise_std: Numbers, weight_decay: Numbers) -> Float[Array, "*#shape"]:
    """b after infinite time with weight decay: the stable root from above the barrier, the barrier on it, else 0.

    >>> [round(float(decayed_strength(initial, 1, 0.2**0.5, 0.3)), 4) for initial in (0.1, 0.2)]
    [0.0, 0.7447]
    """
    stable, barrier = decay_roots(signal, noise_std, weight_decay)
    start, stable, barrier = jnp.broadcast_arrays(initial, stable, barrier)
    return jnp.where(start > barrier, stable, jnp.where(start == barrier, start, 0))
