r"""Attention as interacting particles: how tokens on a sphere cluster, when, into how many groups, and at what energy.

Formula. $n$ tokens on the unit sphere, $P_x y = y - \langle x, y \rangle x$, temperature $1/\beta$,
$Z_i = \sum_j e^{\beta \langle x_i, x_j \rangle}$, with softmax (SA) or unnormalised (USA):

$$
\begin{align*}
x_i' &= P_{x_i} \sum_j e^{\beta \langle x_i, x_j \rangle} x_j/Z_i \qquad \text{(SA)} \\
x_i' &= P_{x_i} \sum_j e^{\beta \langle x_i, x_j \rangle} x_j/n \qquad \text{(USA)}
\end{align*}
$$

All pairs at one inner product $\gamma$: it stays one,

$$
\begin{align*}
\gamma' &= \frac{2 e^{\beta \gamma} (1 - \gamma) ((n - 1) \gamma + 1)}{e^\beta + (n - 1) e^{\beta \gamma}} \qquad \text{(SA)} \\
\gamma' &= \frac{2}{n} e^{\beta \gamma} (1 - \gamma) ((n - 1) \gamma + 1) \qquad \text{(USA)}
\end{align*}
$$

and in both flows it runs along one path, at a clock $l$ of its own:

$$
l = \ln \frac{1 + (n - 1) \gamma}{1 - \gamma} - \text{its start}
$$

At $\beta = 0$, $l = 2 t$, and from 0, $\gamma = (e^{2 t} - 1)/(e^{2 t} + n - 1)$. The time from $\gamma = 0$ to $g$, with the
exponential integrals $\operatorname{Ei}$ and $E_1$:

$$
\begin{align*}
t_{\text{SA}} &= \frac{1}{2 n} \left\{ (n - 1)\, l + \operatorname{Ei}(\beta) - \operatorname{Ei}(\beta (1 - g))
+ e^{\frac{\beta n}{n - 1}}
\left[ E_1\left(\tfrac{\beta}{n - 1}\right) - E_1\left(\tfrac{\beta}{n - 1} + \beta g\right) \right] \right\} \\
t_{\text{USA}} &= \frac{1}{2} \left\{ e^{-\beta} \left[ \operatorname{Ei}(\beta) - \operatorname{Ei}(\beta (1 - g)) \right]
+ e^{\frac{\beta}{n - 1}}
\left[ E_1\left(\tfrac{\beta}{n - 1}\right) - E_1\left(\tfrac{\beta}{n - 1} + \beta g\right) \right] \right\}
\end{align*}
$$

A layer $x_i \leftarrow \operatorname{normalise}(x_i + \eta \sum_j \operatorname{softmax}_j x_j)$ multiplies the mean of the
tokens by $S = 1 + \eta$ and their differences by $D = 1 + \eta (e^\beta - e^{\beta g})/(e^\beta + (n - 1) e^{\beta g})$, and
then normalises:

$$
g \leftarrow \frac{S^2 (1 + (n - 1) g) - D^2 (1 - g)}{S^2 (1 + (n - 1) g) + (n - 1) D^2 (1 - g)}
$$

The energy $E = \frac{1}{2 \beta n^2} \sum_{ij} e^{\beta \langle x_i, x_j \rangle}$ rises:

$$
\frac{dE}{dt} = \frac{1}{n} \sum_i \|x_i'\|^2 \quad \text{(USA)}, \qquad
\frac{dE}{dt} = \frac{1}{n^2} \sum_i Z_i \|x_i'\|^2 \quad \text{(SA)}
$$

On the circle, a wave of $k$ periods on uniform tokens grows at $\sigma_k = k^2 I_k(\beta)/\beta$ (USA), over $I_0(\beta)$ more
(SA).

Regime. Equiangular tokens: exact for every $n$, $\beta$ and time. Circle: $n \to \infty$, and waves that are still small.
Independent uniform tokens come to be equiangular, with $\gamma = 0$ at the start, as $d \to \infty$ at a fixed $n$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $n$, $d$ | `num_tokens`, `dim` | any | tokens, $2$ to $\infty$; their dimension ($n$ equiangular ones need $n - 1$ or $n$) |
| $\beta$ | `beta` | any | inverse temperature, $\ge 0$, or infinite where a limit exists |
| $t$ | `time` | any | of the flow: one layer of step $\eta$ is $\eta$ |
| $\gamma(t)$ | `inner_product` | any | of any two tokens, cosine of their angle, in $[-1/(n - 1), 1]$ |
| $\gamma(0)$, $g$ | `initial`, `level` | any | at time 0; the one to be hit |
| $1 - \gamma$ | `delta` | any | distance from one cluster |
| $x_i$ | `tokens` | token dim | unit vectors |
| $\eta$ | `step_size` | any | of a layer |
| $k$, $\sigma_k$ | mode, growth rate | mode | periods round the circle; of the amplitude |

Factors. $V = I$, $Q = K = I$. `softmax=True` is SA, `softmax=False` USA, which is faster by a factor of about $Z/n$. At last
$1 - \gamma$ falls as $e^{-2 t}$ (SA) and $e^{-2 e^\beta t}$ (USA); $\gamma$ leaves 0 at the slope $2/(e^\beta + n - 1)$ and
$2/n$.

Source. B. Geshkovski, C. Letrouit, Y. Polyanskiy, P. Rigollet, arXiv 2312.10794: the flows, the equiangular equations and the
energy of USA, read in a public formalisation of its statements [L], not in the paper; no equation number is known to us. The
closed forms, the energy of SA, the layer and the growth rates are derived here [D], none is the paper's, and so is any start
but $\gamma = 0$. Cf. G. Bruno et al., arXiv 2410.23228, for clusters in any dimension (recalled).

Finite size. None for equiangular tokens. Uniform ones, $n = 8$ and $\beta = 1$: inner products are off $\gamma(t)$ by at most
0.3 at $d = 64$ and 0.1 at $d = 1024$, then less [D]; proved is $2 c^{n t} \sqrt{(\log d)/d}$, $c = e^{10 \max(1, \beta)}$ [L],
which says nothing at such sizes. The number of clusters is the fastest mode, which finite draws scatter about by one or so. The
time that is left in a metastable state falls below rounding: in float32 $\gamma(t)$ at $\beta > 20$ is uncertain just where it
leaves it. Where $1 - \gamma$ is below a sixteenth of a rounding error, $\gamma$ is 1 and flat.

Example. Eight tokens at right angles, six layers of step 1: at $\beta = 0$ they are one cluster, at $\beta = 4$ hardly nearer
to one another.

>>> from closedform.theory.transformers.token_clustering import layer_inner_products
>>> [round(float(g), 3) for g in layer_inner_products(6, 8, 0.0, 1.0)]
[0.0, 0.273, 0.652, 0.887, 0.97, 0.992, 0.998]
>>> [round(float(g), 3) for g in layer_inner_products(6, 8, 4.0, 1.0)]
[0.0, 0.018, 0.038, 0.063, 0.093, 0.131, 0.178]
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.special import i0, i1, logsumexp
from jaxtyping import Array, Float, Int, Real

from ..numerics.arguments import ArrayLike, above, at_least, between, takes

Number = Real[ArrayLike, ""]
Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together

# --------------------------------------------------------------------------------------------------- equiangular tokens


@takes(inner_product=between(-1, 1), num_tokens=at_least(2), beta=at_least(0))
def inner_product_rate(
    inner_product: Numbers, num_tokens: Numbers, beta: Numbers, softmax: bool = True
) -> Float[Array, "*shape"]:
    """gamma', from gamma between -1/(n - 1) and 1. At n infinite (1 - gamma) gamma times 2, or 2 e^(beta gamma) in USA.

    USA overflows with e^(beta gamma).

    >>> round(float(inner_product_rate(0.0, 4, 0.0)), 6), round(float(inner_product_rate(0.0, 4, 3.0, softmax=False)), 6)  # 2/n
    (0.5, 0.5)
    """
    _check_start(num_tokens, inner_product=inner_product)
    gamma, n, beta_ = jnp.broadcast_arrays(inner_product, num_tokens, _finite(beta))
    path = 2 * (1 - gamma) * (gamma + 1 / (n - 1))
    if not softmax:
        half = _exp(beta_ * gamma / 2)  # twice, so that at gamma = 1 0 is 0
        return path * (1 - 1 / n) * half * half
    return path * jax.nn.sigmoid(jnp.log(n - 1) - beta_ * (1 - gamma))  # all other tokens' share of the attention


@takes(time=at_least(0), num_tokens=at_least(2), beta=at_least(0), initial=between(-1, 1, high_open=True))
def inner_product(
    time: Numbers, num_tokens: Numbers, beta: Numbers, initial: Numbers = 0.0, softmax: bool = True
) -> Float[Array, "*shape"]:
    """gamma(t), from gamma(0) = initial: the inverse of the hitting time, at any time, 1 at time = infinity.

    From -1/(n - 1), which is 0 for infinitely many tokens, it never moves.

    >>> round(float(inner_product(3.0, 4, 1.0)), 5)
    0.98142
    """
    _check_start(num_tokens, initial=initial)
    t, n, beta_, start = jnp.broadcast_arrays(time, num_tokens, _finite(beta), initial)
    a, b = _distances(n, start)
    # hitting time times 2 n e^(-beta a), or 2 e^(beta initial): linear l + A + B = target, rising and concave in l
    endless, many = jnp.isinf(t), jnp.isinf(n)
    now, m = jnp.where(endless, 0, t), jnp.where(many, 2, n)
    if softmax:
        linear, target = (m - 1) * jnp.exp(-beta_ * a), 2 * m * _times_exp(now, -beta_ * a)
    else:
        linear, target = jnp.zeros_like(n), 2 * _times_exp(now, beta_ * start)
    clock = _clock_at(jnp.where(endless, jnp.inf, target), linear, beta_, a, b)
    if softmax:
        clock = jnp.where(many, 2 * t, clock)  # one's own weight is nothing: as at beta = 0
    h, q = _rise(clock, a, b)
    return jnp.where(h < q, start + h, 1 - q)


@takes(time=at_least(0), num_tokens=at_least(2), initial=between(-1, 1, high_open=True))
def inner_product_at_zero_beta(time: Numbers, num_tokens: Numbers, initial: Numbers = 0.0) -> Float[Array, "*shape"]:
    """gamma(t) at beta = 0, SA and USA alike; from 0 it is (e^(2t) - 1)/(e^(2t) + n - 1).

    >>> round(float(inner_product_at_zero_beta(0.5, 2)), 6)  # tanh t
    0.462117
    """
    _check_start(num_tokens, initial=initial)
    t, n, start = jnp.broadcast_arrays(time, num_tokens, initial)
    h, q = _rise(2 * t, *_distances(n, start))
    return jnp.where(h < q, start + h, 1 - q)


@takes(level=between(-1, 1), num_tokens=at_least(2), beta=at_least(0), initial=between(-1, 1, high_open=True))
def hitting_time(
    level: Numbers, num_tokens: Numbers, beta: Numbers, initial: Numbers = 0.0, softmax: bool = True
) -> Float[Array, "*shape"]:
    """The time at which gamma is `level`, from initial <= level; infinite at level 1, and 0 at level = initial.

    SA: it is of order e^beta/beta, infinite from beta = 88 (float32) or 709 on; see log_hitting_time.

    >>> round(float(hitting_time(0.9, 4, 0.0)), 6), round(float(hitting_time(0.9, 4, 4.0)), 3)  # ln(37)/2 at beta = 0
    (1.805459, 7.094)
    """
    return _time(*_hit(level, num_tokens, beta, initial), softmax)


@takes(level=between(-1, 1), num_tokens=at_least(2), beta=at_least(0, finite=True), initial=between(-1, 1, high_open=True))
def log_hitting_time(
    level: Numbers, num_tokens: Numbers, beta: Numbers, initial: Numbers = 0.0, softmax: bool = True
) -> Float[Array, "*shape"]:
    """Logarithm of the hitting time, at any finite beta; -infinity at level = initial.

    >>> round(float(log_hitting_time(0.9, 2, 1000.0) - (1000.0 - jnp.log(2000.0))), 3)  # e^beta/(2 beta) for two tokens
    0.0
    """
    clock, integral, n, beta_, start = _hit(level, num_tokens, beta, initial)
    if not softmax:
        return jnp.log(integral / 2) - beta_ * start
    many = jnp.isinf(n)
    m, rest = jnp.where(many, 2, n), beta_ * (1 - start)
    time = jnp.where(jnp.isinf(clock), jnp.inf, (m - 1) * clock * jnp.exp(-rest) + integral) / (2 * m)
    return jnp.where(many, jnp.log(clock / 2), rest + jnp.log(time))


@takes(beta=at_least(0), num_tokens=at_least(2), delta=above(0, finite=True), initial=between(-1, 1, high_open=True))
def phase_curve(
    beta: Numbers, num_tokens: Numbers, delta: Numbers = 1e-3, initial: Numbers = 0.0, softmax: bool = True
) -> Float[Array, "*shape"]:
    """The time at which the tokens are one cluster up to delta, gamma = 1 - delta: the line through the phase diagram.

    delta is at most 1 - initial, where the time is 0.

    >>> round(float(phase_curve(0.0, 32)), 4)  # ln[(n - (n - 1) delta)/delta]/2
    5.1863
    """
    _check_start(num_tokens, initial=initial)
    _require_together("at most 1 - initial", lambda d, lowest: d <= 1 - lowest, delta=delta, initial=initial)
    left, n, beta_, start = jnp.broadcast_arrays(delta, num_tokens, _finite(beta), initial)
    return _time(*_path(1 - start - left, left, n, beta_, start), softmax)


@takes(time=at_least(0), beta=at_least(0), num_tokens=at_least(2), initial=between(-1, 1, high_open=True))
def phase_diagram(
    time: Real[ArrayLike, "time"],
    beta: Real[ArrayLike, "beta"],
    num_tokens: Number,
    initial: Number = 0.0,
    softmax: bool = True,
) -> Float[Array, "beta time"]:
    """gamma on the grid of all times and inverse temperatures.

    >>> [[round(float(gamma), 3) for gamma in row] for row in phase_diagram(jnp.array([1.0, 9.0]), jnp.array([0.0, 4.0]), 8)]
    [[0.444, 1.0], [0.038, 1.0]]
    """
    times, betas = jnp.meshgrid(time, beta)
    return inner_product(times, num_tokens, betas, initial, softmax)


@takes(inner_product=between(-1, 1), num_tokens=at_least(2), beta=at_least(0), step_size=at_least(0))
def layer_update(inner_product: Numbers, num_tokens: Numbers, beta: Numbers, step_size: Numbers) -> Float[Array, "*shape"]:
    """g after one layer x_i <- normalise(x_i + eta sum_j softmax_j x_j), for any step; infinite: without the residual x_i.

    >>> round(float(layer_update(0.0, 2, 0.0, 1.0)), 6)  # (3 e_1 + e_2).(e_1 + 3 e_2)/10
    0.6
    """
    _check_start(num_tokens, inner_product=inner_product)
    return _after_layer(*jnp.broadcast_arrays(inner_product, num_tokens, _finite(beta), step_size))


@takes(num_layers=at_least(0), num_tokens=at_least(2), beta=at_least(0), step_size=at_least(0), initial=between(-1, 1))
def layer_inner_products(
    num_layers: int, num_tokens: Numbers, beta: Numbers, step_size: Numbers, initial: Numbers = 0.0
) -> Float[Array, "layers *shape"]:
    """g at the input and after each layer: num_layers + 1 of them.

    >>> [round(float(g), 3) for g in layer_inner_products(2, 2, 0.0, 1.0)]
    [0.0, 0.6, 0.882]
    """
    _check_start(num_tokens, initial=initial)
    n, beta_, eta, start = jnp.broadcast_arrays(num_tokens, _finite(beta), step_size, initial)

    def layer(g: Array, _: None) -> tuple[Array, Array]:
        after = _after_layer(g, n, beta_, eta)
        return after, after

    return jnp.concatenate([start[None], jax.lax.scan(layer, start, None, length=num_layers)[1]])


def _after_layer(g: Array, n: Array, beta: Array, eta: Array) -> Array:
    # S and D over max(1, eta), the eigenvalues 1 + (n - 1) g and 1 - g of the Gram matrix over n - 1: all finite
    rest, step = 1 / jnp.maximum(eta, 1), jnp.minimum(eta, 1)
    apart = beta * (1 - g)
    own = jax.nn.sigmoid(apart - jnp.log(n - 1))  # e^beta/Z
    fewness = 1 / (n - 1)
    mean = (rest + step) ** 2 * (g + fewness)
    differences = (rest - step * own * jnp.expm1(-apart)) ** 2 * (1 - g)
    total = mean + differences
    # nothing but the mean is left, and it is 0: the limit of large eta
    return jnp.where(total > 0, (mean - fewness * differences) / jnp.where(total > 0, total, 1), g)


# ---------------------------------------------------------------------------------------------------------------- energy


@takes(beta=above(0, finite=True))
def energy(tokens: Real[ArrayLike, "token dim"], beta: Number) -> Float[Array, ""]:
    """E = (1/(2 beta n^2)) sum_ij e^(beta <x_i, x_j>), of any tokens; beta > 0.

    Infinite where e^(beta |x|^2) overflows: of unit vectors from beta = 88 (float32) or 709 on.

    >>> round(float(energy(jnp.eye(2), 1.0)), 5)  # (e + 1)/4
    0.92957
    """
    x, beta_ = jnp.asarray(tokens), jnp.asarray(beta)
    return jnp.mean(jnp.exp(beta_ * (x @ x.T))) / (2 * beta_)


@takes(beta=at_least(0, finite=True))
def energy_rate(tokens: Real[ArrayLike, "token dim"], beta: Number, softmax: bool = True) -> Float[Array, ""]:
    """dE/dt along the flow of the tokens, never negative; beta >= 0. The tokens are unit vectors, which is not checked.

    To rounding times beta at any finite beta: it overflows only where dE/dt does.

    >>> round(float(energy_rate(jnp.eye(2), 1.0, softmax=False)), 5)  # each token moves at 1/2
    0.25
    """
    x, beta_ = jnp.asarray(tokens), jnp.asarray(beta)
    exponents = beta_ * (x @ x.T)
    # velocity times sqrt Z_i (SA), or the velocity; P x_i = 0, so a token's own e^beta and equal tokens count exactly 0
    exponents -= logsumexp(exponents, axis=1, keepdims=True) / 2 if softmax else math.log(len(x))
    ways = x[None] - x[:, None]
    distances = jax.lax.stop_gradient(jnp.sum(ways**2, axis=2))
    apart = distances > 0
    top = jnp.max(jax.lax.stop_gradient(exponents) + jnp.log(distances) / 2)  # of the terms of the pull
    top = jnp.where(apart.any(), top, 0)
    weights = jnp.where(apart, jnp.exp(jnp.where(apart, exponents - top, 0)), 0)
    pull = jnp.sum(weights[:, :, None] * ways, axis=1)
    square = jnp.sum((pull - jnp.sum(pull * x, axis=1, keepdims=True) * x) ** 2)
    return square * _exp(top) * _exp(top) / len(x) ** (2 if softmax else 1)


@takes(inner_product=between(-1, 1), num_tokens=at_least(2), beta=above(0, finite=True))
def equiangular_energy(inner_product: Numbers, num_tokens: Numbers, beta: Numbers) -> Float[Array, "*shape"]:
    """E of n tokens, every two of which have one inner product; beta > 0. Overflows as `energy`.

    >>> round(float(equiangular_energy(0.0, 2, 1.0)), 5)
    0.92957
    """
    _check_start(num_tokens, inner_product=inner_product)
    gamma, n, beta_ = jnp.broadcast_arrays(inner_product, num_tokens, beta)
    return (jnp.exp(beta_ - jnp.log(n)) + (1 - 1 / n) * jnp.exp(beta_ * gamma)) / (2 * beta_)


# ------------------------------------------------------------------------------------------------------------- the circle

_BEYOND = 32  # modes above those asked for, at which the recurrence starts


def _debye(count: int) -> list[list[float]]:
    """Coefficients in q, highest first, of P_0 ... in x I_k'(x)/I_k(x) = s + P_0(q) + P_1(q)/s + ..., s^2 = k^2 + x^2.

    q = x^2/s^2. The left side y solves x y' + y^2 = s^2, where x s' = q s and x q' = 2 q (1 - q). By powers of s:
    2 P_(j + 1) = j q P_j - 2 q (1 - q) P_j' - sum_i P_i P_(j - i), from 2 P_0 = -q.
    """
    q = np.poly1d([1.0, 0.0])
    found = [-q / 2]
    for j in range(count - 1):
        products = sum((found[i] * found[j - i] for i in range(j + 1)), start=np.poly1d([0.0]))
        found.append((j * q * found[j] - 2 * q * (1 - q) * found[j].deriv() - products) / 2)
    return [one.coeffs.tolist() for one in found]


@takes(num_modes=at_least(1), beta=at_least(0))
def circle_growth_rates(num_modes: int, beta: Numbers, softmax: bool = True) -> Float[Array, "mode *shape"]:
    """sigma_k of k = 1 ... num_modes waves round the circle, near the uniform density. At beta = 0: 1/2, 0, 0, ...

    To 1e-14 relative at any beta, in float32 to 2e-6, of up to 100 modes. USA overflows with e^beta.

    >>> [round(float(rate), 4) for rate in circle_growth_rates(4, 9.0)]
    [0.1047, 0.3513, 0.5914, 0.7045]
    """
    beta_ = _finite(beta)
    highest = num_modes + _BEYOND

    # I_k/I_(k-1) = beta/(2 k + beta I_(k+1)/I_k), downwards, where an error of its start dies out
    def ratio(after: Array, k: Array) -> tuple[Array, Array]:
        here = 1 / (2 * k + beta_ * (beta_ * after))  # over beta
        return here, here

    # start: I_(k-1)/I_k = I_k'/I_k + k/beta
    s = jnp.hypot(jnp.full_like(beta_, highest + 1), beta_)
    q = 1 - ((highest + 1) / s) ** 2
    series = s
    for j, coefficients in enumerate(_DEBYE):
        series += jnp.polyval(jnp.asarray(coefficients, s.dtype), q) / s**j
    modes = jnp.arange(highest, 0, -1, dtype=beta_.dtype)
    ratios = jax.lax.scan(ratio, 1 / (highest + 1 + series), modes)[1][::-1][:num_modes]
    factors = jnp.concatenate([ratios[:1], beta_[None] * ratios[1:]])
    square = modes[::-1][:num_modes].reshape(-1, *[1] * beta_.ndim) ** 2
    rates = square * jnp.cumprod(factors, axis=0)
    return jnp.where(jnp.isinf(beta), 0, rates) if softmax else rates * _i0(beta_)[None]


_DEBYE = _debye(7)


@jax.custom_jvp
def _i0(x: Array) -> Array:
    return i0(x)


_i0.defjvps(lambda tangent, _, x: i1(x) * tangent)  # jax's own derivative at 0 is 1


@takes(beta=at_least(0, finite=True), largest=at_least(1))
def num_metastable_clusters(beta: Numbers, largest: int = 64) -> Int[Array, "*shape"]:
    """The fastest mode on the circle, about sqrt(2 beta), among 1 ... largest; the same for SA and USA.

    >>> num_metastable_clusters(jnp.array([4.0, 9.0, 16.0])).tolist()
    [3, 4, 6]
    """
    fastest = 1 + jnp.argmax(circle_growth_rates(largest, beta), axis=0)
    if not isinstance(fastest, Tracer) and np.any(np.asarray(fastest) == largest):
        raise ValueError(f"largest must be above the number of clusters, got {largest} for beta up to {np.max(beta)}")
    return fastest


# --------------------------------------------------------------------------------------------------------- along the path

# An equiangular start has the distance a = 1 - initial from one cluster and b = initial + 1/(n-1) from the regular simplex.
# At clock l it has risen by h, and q = a - h is left: l = ln[(b + h)/b] + ln[a/q].


def _distances(n: Array, initial: Array) -> tuple[Array, Array]:
    b = initial + 1 / (n - 1)
    return 1 - initial, jnp.where(b < 0, 0, b)  # below 0 by rounding


@jax.custom_jvp
def _rise(clock: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """h and q at l, each to its own rounding."""
    decay, total = _decay(clock, a, b)
    return -a * b * jnp.expm1(-clock) / total, (a + b) * a * decay / total


def _decay(clock: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """e^-l and b + a e^-l, both above 0 where b is 0."""
    decay = jnp.exp(-clock)
    decay = jnp.where(b > 0, decay, jnp.maximum(decay, float(jnp.finfo(clock.dtype).tiny)))
    return decay, b + a * decay


def _rise_over_b(clock: Array, a: Array, b: Array) -> Array:
    """h/b, also where b is 0."""
    return -a * jnp.expm1(-clock) / _decay(clock, a, b)[1]


@_rise.defjvp
def _rise_jvp(primals: tuple, tangents: tuple) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """From dl = dh/(b + h) + db (1/(b + h) - 1/b) + da/a - dq/q and dh + dq = da."""
    (clock, a, b), (d_clock, d_a, d_b) = primals, tangents
    h, q = _rise(clock, a, b)
    common = q * ((b + h) * d_clock + _rise_over_b(clock, a, b) * d_b) / (a + b)
    return (h, q), (common + h / a * (b + h) / (a + b) * d_a, q / a * (1 + h / (a + b)) * d_a - common)


def _hit(level: Numbers, num_tokens: Numbers, beta: Numbers, initial: Numbers) -> tuple[Array, Array, Array, Array, Array]:
    """The clock at the level, A + B there, and n, beta and the start as arrays."""
    _check_start(num_tokens, initial=initial)
    _require_together("between initial and 1", lambda g, lowest: (g >= lowest) & (g <= 1), level=level, initial=initial)
    g, n, beta_, start = jnp.broadcast_arrays(level, num_tokens, _finite(beta), initial)
    return _path(g - start, 1 - g, n, beta_, start)


def _path(h: Array, q: Array, n: Array, beta: Array, start: Array) -> tuple[Array, Array, Array, Array, Array]:
    """As _hit, from what is risen and what is left."""
    a, b = _distances(n, start)
    fixed = b == 0  # it never leaves
    grown = jnp.where(fixed, jnp.where(h > 0, jnp.inf, 0), jnp.log1p(h / jnp.where(fixed, 1, b)))
    clock = grown + jnp.log1p(h / q)
    A, B = _integrals(clock, beta, a, b)
    return clock, A + B, n, beta, start


def _time(clock: Array, integral: Array, n: Array, beta: Array, start: Array, softmax: bool) -> Array:
    """The time on the clock of SA or USA."""
    half = _exp(beta * ((1 - start) if softmax else -start) / 2)  # twice, so that at the start 0 is 0
    scaled = jnp.where(jnp.isinf(integral), jnp.inf, half * (half * integral))
    if not softmax:
        return scaled / 2
    many = jnp.isinf(n)
    m = jnp.where(many, 2, n)
    return jnp.where(many, clock / 2, ((m - 1) * clock + scaled) / (2 * m))


@jax.custom_jvp
@jax.jit
def _integrals(clock: Array, beta: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """A = int_0^h e^(-beta s)/(a - s) ds and B = int_0^h e^(-beta s)/(b + s) ds, at clock l."""
    h, q = _rise(clock, a, b)
    decay = jnp.exp(-beta * h)
    # beta = 0 to rounding, where A = ln(a/q), B = ln(1 + h/b)
    none = beta < 1e-3 * jnp.finfo(beta.dtype).eps
    x = jnp.where(none, 1, beta)
    first, last = _scaled_ei(jnp.stack([x * a, x * q]))
    A = jnp.where(none, jnp.log(a / q), jnp.where(q > 0, first - decay * last, jnp.inf))
    fixed = b == 0
    above_b = jnp.where(fixed, 1, b)
    B = jnp.where(none, jnp.log1p(h / above_b), _scaled_e1(x * above_b) - decay * _scaled_e1(x * (above_b + h)))
    B = jnp.where(fixed, clock, B)
    # a short way, on which those would cancel: the pole is at least h away, so n points are within 5.8^(-2n)
    points, weights = (jnp.asarray(values, h.dtype) for values in np.polynomial.legendre.leggauss(12))

    def add(i: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        s = h * (1 + points[i]) / 2
        value = weights[i] / 2 * h * jnp.exp(-beta * s)
        return sums[0] + value / (h + q - s), sums[1] + value / (above_b + s)

    A_near, B_near = jax.lax.fori_loop(0, 12, add, (jnp.zeros_like(h), jnp.zeros_like(h)))
    short = beta * h < 1
    return jnp.where(short & (h < q), A_near, A), jnp.where(short & (h < b), B_near, B)


@_integrals.defjvp
def _integrals_jvp(primals: tuple, tangents: tuple) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """By parts: nothing large cancels. In sum d(A + B)/dl = e^(-beta h) and d(A + B)/dbeta = b B - a A."""
    clock, beta, a, b = primals
    d_clock, d_beta, d_a, d_b = tangents
    A, B = _integrals(clock, beta, a, b)
    h, q = _rise(clock, a, b)
    ratio = _rise_over_b(clock, a, b)
    decay, whole = jnp.exp(-beta * h), a + b
    way = beta * h
    mean = jnp.where(way > 0, -jnp.expm1(-way) / jnp.where(way > 0, way, 1), 1)  # (1/h) int_0^h e^(-beta s) ds
    d_A = decay * (b + h) / whole * d_clock + (h * mean - a * A) * d_beta
    d_A += (h / a * (beta * mean - decay / whole) - beta * A) * d_a + decay * ratio / whole * d_b
    d_B = decay * q / whole * d_clock + (b * B - h * mean) * d_beta
    d_B += decay * h / (a * whole) * d_a + (beta * B - ratio * (beta * mean + decay / whole)) * d_b
    return (A, B), (d_A, d_B)


@jax.jit
def _clock_at(target: Array, linear: Array, beta: Array, a: Array, b: Array) -> Array:
    """The root l of linear l + (A + B)(l) = target, with implicit derivatives; no further than to where q is rounding."""
    eps, tiny = float(jnp.finfo(beta.dtype).eps), float(jnp.finfo(beta.dtype).tiny)

    def excess(clock: Array) -> Array:
        A, B = _integrals(clock, beta, a, b)
        return linear * clock + A + B - target

    end = jax.lax.stop_gradient(jnp.log1p(a / jnp.maximum(b, tiny)) - math.log(eps / 16))  # q = eps a/16

    def solve(_, start: Array) -> Array:
        slowest = jnp.exp(-beta * a)

        def newton(clock: Array) -> tuple[Array, Array]:
            # of a concave function: at most the root, from either side
            value = excess(clock)
            slope = linear + jnp.exp(-beta * _rise(clock, a, b)[0])
            return value, clock - value / jnp.maximum(slope, tiny)

        def rising(state: tuple) -> Array:
            before, now, _, steps = state
            return (steps <= 12) | jnp.any(now > before * (1 + 4 * eps)) & (steps < 100)

        def step(state: tuple) -> tuple:
            _, low, high, steps = state
            # halving first: where the slope falls as e^(-beta h), Newton's steps are of length 1/beta
            clock = jnp.where(steps < 12, (low + high) / 2, low)
            value, below = newton(clock)
            return low, jnp.clip(below, low, end), jnp.where(value > 0, clock, high), steps + 1

        # the slope is between linear + slowest and linear + 1
        low = jnp.minimum(target / (linear + 1), end)
        high = jnp.minimum(target / jnp.maximum(linear + slowest, tiny), end)
        return jax.lax.while_loop(rising, step, (low, low, high, 0))[1]

    def tangent_solve(linear_fn, value: Array) -> Array:
        return value / jnp.maximum(linear_fn(jnp.ones_like(value)), tiny)

    clock = jax.lax.custom_root(excess, end, solve, tangent_solve)
    return jnp.where(clock < end, clock, end)  # beyond the end gamma is flat


def _scaled_ei(x: Array) -> Array:
    """e^-x Ei(x), x >= 0: its series of positive terms up to 40, then the asymptotic one, whose smallest term there is e^-40.

    jax.scipy.special.expi is as accurate, but overflows, is NaN at 0 and takes five times as long to compile.
    """
    below, above = jnp.minimum(x, 40), jnp.maximum(x, 40)

    def add(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        k = (i + 1).astype(x.dtype)
        term = state[0] * below / k
        return term, state[1] + term / k

    # sum_k x^k/(k k!); at 40 the 120th term is e^-15, of a sum e^36
    _, total = jax.lax.fori_loop(0, 120, add, (jnp.ones_like(x), jnp.zeros_like(x)))
    inner = jnp.exp(-below) * (np.euler_gamma + jnp.log(below) + total)
    # 1 + 1/x (1 + 2/x (1 + 3/x (...)))
    series = jax.lax.fori_loop(0, 40, lambda i, r: 1 + (40 - i).astype(x.dtype) / above * r, jnp.ones_like(x))
    return jnp.where(x < 40, inner, series / above)


# k-th coefficient of gamma_Euler + ln x + E1(x) = x - x^2/(2 2!) + x^3/(3 3!) - ...; at x = 1.5 the 25th term is 1e-21
_EIN = [(-1) ** (k + 1) / (k * math.factorial(k)) for k in range(24, 0, -1)] + [0.0]


def _scaled_e1(x: Array) -> Array:
    """e^x E1(x), x > 0: series up to 1.5, from there on the continued fraction, at a depth that is within 1e-15 at 1.5.

    jax.scipy.special.exp1 does not end on the array [1e-8, 0.5] (jax 0.10.2), and underflows at large arguments.
    """
    below, above = jnp.minimum(x, 1.5), jnp.maximum(x, 1.5)
    inner = jnp.exp(below) * (jnp.polyval(jnp.asarray(_EIN, x.dtype), below) - np.euler_gamma - jnp.log(below))

    def fraction(i: Array, r: Array) -> Array:
        k = (60 - i).astype(x.dtype)
        return k**2 / (above + 2 * k + 1 - r)

    return jnp.where(x < 1.5, inner, 1 / (above + 1 - jax.lax.fori_loop(0, 60, fraction, jnp.zeros_like(x))))


# -------------------------------------------------------------------------------------------------------------- arguments


def _finite(beta: Numbers) -> Array:
    """The limit of infinite beta is reached to rounding."""
    return jnp.minimum(beta, float(jnp.finfo(jnp.asarray(beta).dtype).max) ** 0.9)


def _exp(x: Array) -> Array:
    """e^x, finite: so that 0 times it is 0."""
    return jnp.exp(jnp.minimum(x, math.log(float(jnp.finfo(x.dtype).max)) - 1e-3))


def _times_exp(t: Array, x: Array) -> Array:
    """t e^x, finite, and to rounding also where e^x alone is out of range."""
    largest = math.log(float(jnp.finfo(x.dtype).max)) - 3
    x = jnp.minimum(x, largest - jnp.log(jnp.maximum(t, 1)))
    half = jnp.exp(x / 2)
    return jnp.where(x > -largest, t * jnp.exp(x), t * half * half)


def _check_start(num_tokens: Numbers, **inner_product: Numbers) -> None:
    """Raises ValueError for what is no inner product of all pairs of so many unit vectors."""
    (start,) = inner_product.values()
    slack = 1 + 4 * float(jnp.finfo(jnp.asarray(start).dtype).eps)
    condition = "at least -1/(num_tokens - 1)"
    _require_together(condition, lambda g, n: g >= -slack / (n - 1), **inner_product, num_tokens=num_tokens)


def _require_together(condition: str, holds_fn: Callable[..., Any], **arguments: Numbers) -> None:
    """Raises ValueError at the first place where arguments that are known, not traced, break a condition on both."""
    if any(isinstance(value, Tracer) for value in arguments.values()):
        return
    arrays = np.broadcast_arrays(*map(np.asarray, arguments.values()))
    wrong = ~holds_fn(*arrays)
    if np.any(wrong):
        (name, value), (other, beside) = zip(arguments, (float(array[wrong][0]) for array in arrays), strict=True)
        raise ValueError(f"{name} must be {condition}, got {value} with {other} {beside}")
