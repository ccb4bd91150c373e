r"""Linear contrastive learning: the features that an encoder and its projection head end with, and how each is learned.

A linear network of $k$ layers, $f(x) = W_k \cdots W_1 x = B x$, sees two views $x, x^+$ of a sample, clean signal plus
independent noise. It is trained on the spectral contrastive loss, in which $x^-$ is a view of another sample.

Formula. With the covariance $C$ of the clean signal, the covariance $S$ of a view and $G = B^\top B$,

$$
\begin{align*}
\mathcal{L} &= -2\, \mathbb{E} f(x) \cdot f(x^+) + \mathbb{E} (f(x) \cdot f(x^-))^2 \\
&= -2 \operatorname{tr} G C + \operatorname{tr} G S G S \\
G^* &= S^{-1/2} \left[ S^{-1/2} C S^{-1/2} \right]_p S^{-1/2}
\end{align*}
$$

where $[\cdot]_p$ is the best approximation of rank $p$, the outputs of the head. In a basis of features with
$C = \operatorname{diag} \phi_i^2$ and $S = \operatorname{diag}(\phi_i^2 + \sigma_i^2)$, the head multiplies feature $i$ by

$$
q_i = \frac{\phi_i}{\phi_i^2 + \sigma_i^2}
$$

if $\phi_i^2/(\phi_i^2 + \sigma_i^2)$ is among the $p$ largest, and by 0 otherwise. From a balanced start, where
$W_{l+1}^\top W_{l+1} = W_l W_l^\top$, the layers up to layer $l$ multiply it by $q_i^{l/k}$ in the end. On the way, with two
layers, $S_i = \phi_i^2 + \sigma_i^2$ and the strength $b_i$ of feature $i$ in $W_2 W_1$ (indices left out),

$$
\frac{db}{dt} = 8\, b^2 (\phi^2 - S^2 b^2), \qquad
8\, \phi^2 t = \left[ -\frac{1}{b} + \frac{S}{\phi} \operatorname{artanh} \frac{S b}{\phi} \right]_{b(0)}^{b(t)}
$$

Feature $k$ has a larger share of the variance before the head than behind it if and only if

$$
q_k < \frac{\sum_i \phi_i^2 q_i^2}{\sum_i \phi_i^2 q_i}
$$

in sums over all features or over the others alone. A penalty $\lambda (\|W_1\|^2 + \|W_2\|^2)$ leaves the strengths $b = 0$
and the roots of $4 S^2 b^3 - 4 \phi^2 b + 2 \lambda = 0$. The larger positive root is stable, the smaller one is the barrier
above which a mode has to start to get there. They exist for $\lambda \leq 4 \phi^3/(3 \sqrt 3\, S)$.

Regime. Population loss and gradient flow. `optimal_gram` is the global minimum, where gradient descent ends from almost every
start. `layer_weights` is exact for balanced starts, and the limit of small random ones. Time courses and weight decay are for
two layers and starts that are diagonal in the features.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $C$, $S$ | `covariance`, `view_covariance` | dim dim | of the clean signal, and of one view |
| $\phi_i$ | `signal` | any | standard deviation of feature $i$ |
| $\sigma_i$ | `noise_std` | any | standard deviation of the augmentation along feature $i$ |
| $p$ | `rank` | | outputs of the head |
| $q_i$ | `weights` | feature | weight of feature $i$ behind the head |
| $l$, $k$ | `layer`, `depth` | | layer, from 0 (the input) to `depth`; layers, the head among them |
| $b$, $b(0)$ | `initial` is $b(0)$ | any | strength of a feature in $W_2 W_1$ |
| $\lambda$ | `weight_decay` | any | factor of the squared norms of both layers |

Factors. Neither term of the loss has a factor 1/2, nor has the penalty; time is learning rate times steps. Half the loss
doubles the times and the critical weight decay is half as large.

Source. Y. Xue et al., "Investigating the benefits of projection head for representation learning", arXiv 2403.11391: the
model, and the statement that a head makes weights more unequal. All formulas are derived here and checked against gradient
descent.

Finite size. None for population covariances. With samples the optimum moves by $O(1/\sqrt N)$. A start with
$W_2^\top W_2 \neq W_1 W_1^\top$ keeps that difference, and the weights before the head are off by it.

Example. Augmentation that drowns the second feature costs it half of its weight behind the head, and less before it:

>>> from closedform.theory.linear_networks import contrastive
>>> q = contrastive.feature_weights([1.0, 1.0], [0.0, 1.0], rank=2)
>>> [[round(float(weight), 4) for weight in weights] for weights in (q, contrastive.layer_weights(q, 1, 2))]
[[1.0, 0.5], [1.0, 0.7071]]
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ArrayLike, above, at_least, known, takes
from ..numerics.exponentials import bounded
from ..numerics.symmetric import require_kernel

Numbers = Real[ArrayLike, "*#shape"]
Features = Real[ArrayLike, "feature"]
SIZE = at_least(0, finite=True)


@documented
class Roots(NamedTuple):
    """Strengths at which gradient flow with weight decay rests, apart from 0."""

    stable: Float[Array, "*shape"]  # where a mode from above the barrier ends; 0 where there is no such rest
    barrier: Float[Array, "*shape"]  # from below it a mode ends at 0; infinite where every mode does


# ---------------------------------------------------------------------------------------------------------- where it ends


@takes(covariance=FINITE, view_covariance=FINITE, rank=at_least(1))
def optimal_gram(
    covariance: Real[ArrayLike, "dim dim"], view_covariance: Real[ArrayLike, "dim dim"], rank: int
) -> Float[Array, "dim dim"]:
    """G*, the Gram matrix B^T B of least loss among maps B of `rank` outputs; S^-1 C S^-1 for a rank of dim or more.

    Where directions of equal correlation stand at the cut the minimum is not unique, and one of them is returned. Raises
    ValueError for a covariance that is not symmetric and positive semi-definite, or a singular covariance of views.

    >>> optimal_gram([[1, 0], [0, 1]], [[1, 0], [0, 2]], 1).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    require_kernel(covariance, "covariance")
    require_kernel(view_covariance, "view_covariance")
    root = jnp.linalg.cholesky(view_covariance)
    if known(root) and not jnp.all(jnp.isfinite(root)):
        raise ValueError("view_covariance must be positive definite, got a singular matrix")
    inverse = jax.scipy.linalg.solve_triangular(root, jnp.eye(len(root), dtype=root.dtype), lower=True)
    # R^-1 C R^-T with S = R R^T has the eigenvalues of S^-1/2 C S^-1/2, and is turned from it by an orthogonal matrix
    whitened = inverse @ covariance @ inverse.T
    kept = whitened if rank >= len(root) else _best_approximation((whitened + whitened.T) / 2, rank)
    return inverse.T @ kept @ inverse


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _best_approximation(matrix: Float[Array, "n n"], rank: int) -> Float[Array, "n n"]:
    """The part of a positive semi-definite matrix on the eigenvectors of its `rank` largest eigenvalues."""
    values, vectors = jnp.linalg.eigh(matrix)
    return (vectors[:, -rank:] * values[None, -rank:]) @ vectors[:, -rank:].T


@_best_approximation.defjvp
def _(rank: int, primals: tuple, tangents: tuple) -> tuple:
    (matrix,), (change,) = primals, tangents
    values, vectors = jnp.linalg.eigh(matrix)
    kept = jnp.arange(len(values)) >= len(values) - rank
    # divided differences of a function that is the identity on what is kept and 0 on the rest
    gap = values[:, None] - values[None]
    mixed = (kept[:, None] != kept[None]) & (gap != 0)
    between = jnp.where(mixed, jnp.maximum(values[:, None], values[None]) / jnp.where(mixed, jnp.abs(gap), 1), 0)
    slopes = jnp.where(kept[:, None] & kept[None], 1, between)
    tangent = vectors @ (slopes * (vectors.T @ change @ vectors)) @ vectors.T
    return _best_approximation(matrix, rank), tangent


@takes(signals=SIZE, noise_stds=SIZE, rank=at_least(1))
def feature_weights(signals: Features, noise_stds: Features, rank: int) -> Float[Array, "feature"]:
    """q_i = phi_i/(phi_i^2 + sigma_i^2) of the `rank` features of largest phi_i^2/(phi_i^2 + sigma_i^2), 0 of the others.

    Of features of equal ratio at the cut those listed first are kept. A feature of signal 0 has weight 0.

    >>> feature_weights([2, 0.5, 1], [2, 0, 1], 1).tolist()  # the weak feature that augmentation leaves alone
    [0.0, 2.0, 0.0]
    """
    weights = _end(signals, noise_stds)
    if rank >= len(signals):
        return weights
    there = signals > 0
    ratio = jnp.where(there, noise_stds / jnp.where(there, signals, 1), jnp.inf)
    place = jnp.argsort(jnp.argsort(ratio, stable=True), stable=True)
    return jnp.where(place < rank, weights, 0)


@takes(weights=SIZE, layer=at_least(0), depth=at_least(1))
def layer_weights(weights: Real[ArrayLike, "*shape"], layer: int, depth: int) -> Float[Array, "*shape"]:
    """q^(l/k), the weight of a feature after layer l of k, from its weight q after all; 1 at the input.

    Raises ValueError for a layer beyond the depth.

    >>> layer_weights([4, 0.25], 1, 2).tolist()
    [2.0, 0.5]
    """
    if layer > depth:
        raise ValueError(f"layer must be at most the depth {depth}, got {layer}")
    if layer == 0:
        return jnp.ones_like(weights)
    there = weights > 0
    return jnp.where(there, jnp.where(there, weights, 1) ** (layer / depth), 0)


# -------------------------------------------------------------------------------------------- what a downstream task sees


@takes(signals=SIZE, weights=SIZE)
def variance_shares(signals: Features, weights: Features) -> Float[Array, "feature"]:
    """phi_i^2 w_i^2/sum_j phi_j^2 w_j^2: of the variance of a representation of clean samples. All 0 if there is none.

    >>> variance_shares([1, 1], [1, 0]).tolist()
    [1.0, 0.0]
    """
    size = signals * weights
    unit = jnp.max(size, initial=0)
    squares = (size / jnp.where(unit > 0, unit, 1)) ** 2
    total = jnp.sum(squares)
    return squares / jnp.where(total > 0, total, 1)


@takes(signals=SIZE, weights=SIZE)
def earlier_advantage(signals: Features, weights: Features) -> Float[Array, "feature"]:
    """The share of each feature in the variance before the head of a two-layer network, less its share behind the head.

    `weights` are those behind the head. It is positive where the weight is above 0 and below `critical_weight`.

    >>> [round(float(gain), 3) for gain in earlier_advantage([1, 1], [1, 0.5])]
    [-0.133, 0.133]
    """
    # s_i/sum_j s_j - s_i q_i/sum_j s_j q_j with s = phi^2 q, the differences of weights taken before the sum
    unit, largest = jnp.max(signals, initial=0), jnp.max(weights, initial=0)
    q = weights / jnp.where(largest > 0, largest, 1)
    s = (signals / jnp.where(unit > 0, unit, 1)) ** 2 * q
    before, behind = jnp.sum(s), jnp.sum(s * q)
    some = behind > 0
    between = jnp.sum(s[None] * (q[None] - q[:, None]), axis=1)
    return jnp.where(some, s / jnp.where(some, before, 1) * between / jnp.where(some, behind, 1), 0)


@takes(signals=SIZE, weights=SIZE)
def critical_weight(signals: Features, weights: Features) -> Float[Array, ""]:
    """sum phi^2 q^2/sum phi^2 q: features of smaller weight have a larger share before the head. 0 if there are no features.

    >>> round(float(critical_weight([1, 1], [1, 0.5])), 4)
    0.8333
    """
    variance = signals**2 * weights
    total = jnp.sum(variance)
    return jnp.sum(variance * weights) / jnp.where(total > 0, total, 1)


@takes(signal=SIZE, others=above(0, finite=True))
def critical_noise(signal: Numbers, others: Numbers) -> Float[Array, "*#shape"]:
    """sigma_c = sqrt(max(phi/q_c - phi^2, 0)): with more noise a feature has a larger share before the head than behind it.

    `others` is q_c, the `critical_weight` of the other features, without this one. In the plane of signal and noise the
    boundary is a half circle on the axis of signals, of diameter 1/q_c.

    >>> [round(float(critical_noise(signal, 2.0)), 3) for signal in (0, 0.1, 0.25, 0.5)]
    [0.0, 0.2, 0.25, 0.0]
    """
    square = signal * (1 / others - signal)
    some = square > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, square, 1)), 0)


# ----------------------------------------------------------------------------------------------------- how it is learned


@takes(time=at_least(0), signal=SIZE, noise_std=SIZE, initial=SIZE)
def mode_strength(time: Numbers, signal: Numbers, noise_std: Numbers, initial: Numbers) -> Float[Array, "*#shape"]:
    """b(t) from b(0), two layers; it ends at phi/(phi^2 + sigma^2), from above or below. A start of 0 stays there.

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
    """t at which the strength b(t) is reached from b(0), two layers; negative where the flow comes from there.

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
    end = _end(signal, noise_std)
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
    """4 phi^3/(3 sqrt 3 (phi^2 + sigma^2)), two layers: with a larger weight decay the feature is lost from any start.

    >>> round(float(critical_weight_decay(1, 0)), 4)
    0.7698
    """
    return 4 / (3 * math.sqrt(3)) * signal**2 * _end(signal, noise_std)


@takes(signal=SIZE, noise_std=SIZE, weight_decay=SIZE)
def decay_roots(signal: Numbers, noise_std: Numbers, weight_decay: Numbers) -> Roots:
    """The positive roots of 4 S^2 b^3 - 4 phi^2 b + 2 lambda = 0, two layers, from sines of a third of an angle.

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
    scale = 2 / math.sqrt(3) * _end(phi, sigma)
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


def _end(signal: Array, noise_std: Array) -> Array:
    """phi/(phi^2 + sigma^2), and 0 without signal."""
    there = signal > 0
    phi = jnp.where(there, signal, 1)
    return jnp.where(there, 1 / (phi * (1 + (noise_std / phi) ** 2)), 0)
