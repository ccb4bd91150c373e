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

A layer $x_i \leftarrow \operatorname{normalise}(x_i + \eta \sum_j \operatorname{softmax}_j x_j)$, with
$Z = e^\beta + (n - 1) e^{\beta g}$, $u = 1 + \eta e^\beta/Z$, $v = \eta e^{\beta g}/Z$:

$$
g \leftarrow
\frac{u^2 g + 2 u v (1 + (n - 2) g) + v^2 [(n - 2) (1 + (n - 1) g) + g]}
{u^2 + 2 u v (n - 1) g + v^2 (n - 1) (1 + (n - 2) g)}
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
| $n$, $d$ | `num_tokens`, `dim` | any | tokens, $\ge 2$; their dimension ($n$ equiangular ones need $n - 1$ or $n$) |
| $\beta$ | `beta` | any | inverse temperature, $\ge 0$ |
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
leaves it.

Example. Eight tokens at right angles, six layers of step 1: at $\beta = 0$ they are one cluster, at $\beta = 4$ hardly nearer
to one another.

>>> from closedform.theory.token_clustering import layer_inner_products
>>> [round(float(g), 3) for g in layer_inner_products(6, 8, 0.0, 1.0)]
[0.0, 0.273, 0.652, 0.887, 0.97, 0.992, 0.998]
>>> [round(float(g), 3) for g in layer_inner_products(6, 8, 4.0, 1.0)]
[0.0, 0.018, 0.038, 0.063, 0.093, 0.131, 0.178]
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.special import i0
from jaxtyping import Array, ArrayLike, Float, Int, Real

from .gaussian import as_floats
from .kernel_regression import require_not_negative, require_positive

Number = Real[ArrayLike, ""]
Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together

# --------------------------------------------------------------------------------------------------- equiangular tokens


def inner_product_rate(
    inner_product: Numbers, num_tokens: Numbers, beta: Numbers, softmax: bool = True
) -> Float[Array, "*#shape"]:
    """gamma', from gamma at most 1.

    >>> float(inner_product_rate(0.0, 4, 0.0)), float(inner_product_rate(0.0, 4, 3.0, softmax=False))  # 2/n
    (0.5, 0.5)
    """
    _check(num_tokens, beta)
    gamma, n, beta_ = jnp.broadcast_arrays(*as_floats(inner_product, num_tokens, beta))
    path = 2 * (1 - gamma) * ((n - 1) * gamma + 1)
    if not softmax:
        return jnp.exp(beta_ * gamma) * path / n
    weight = jnp.exp(-beta_ * (1 - gamma))  # of another token, over one's own
    return weight * path / (1 + (n - 1) * weight)


def inner_product(
    time: Numbers, num_tokens: Numbers, beta: Numbers, initial: Numbers = 0.0, softmax: bool = True
) -> Float[Array, "*#shape"]:
    """gamma(t), from gamma(0) = initial: the inverse of the hitting time, exact at any time.

    >>> round(float(inner_product(3.0, 4, 1.0)), 5)
    0.98142
    """
    require_not_negative(time=time)
    _check(num_tokens, beta, initial)
    t, n, beta_, start = jnp.broadcast_arrays(*as_floats(time, num_tokens, beta, initial))
    a, b = _distances(n, start)
    t = jnp.minimum(t, float(jnp.finfo(t.dtype).max) * 1e-12)
    # hitting time times 2 n e^(-beta a), or 2 e^(beta initial): linear l + A + B = target, rising and concave in l
    if softmax:
        linear, target = (n - 1) * jnp.exp(-beta_ * a), 2 * n * (t * jnp.exp(-beta_ * a))
    else:
        linear, target = jnp.zeros_like(n), 2 * t * jnp.exp(beta_ * start)
    h, q = _rise(_clock_at(target, linear, beta_, a, b), a, b)
    return jnp.where(h < q, start + h, 1 - q)


def inner_product_at_zero_beta(time: Numbers, num_tokens: Numbers, initial: Numbers = 0.0) -> Float[Array, "*#shape"]:
    """gamma(t) at beta = 0, SA and USA alike; from 0 it is (e^(2t) - 1)/(e^(2t) + n - 1).

    >>> round(float(inner_product_at_zero_beta(0.5, 2)), 6)  # tanh t
    0.462117
    """
    require_not_negative(time=time)
    _check(num_tokens, 0.0, initial)
    t, n, start = jnp.broadcast_arrays(*as_floats(time, num_tokens, initial))
    h, q = _rise(2 * t, *_distances(n, start))
    return jnp.where(h < q, start + h, 1 - q)


def hitting_time(
    level: Numbers, num_tokens: Numbers, beta: Numbers, initial: Numbers = 0.0, softmax: bool = True
) -> Float[Array, "*#shape"]:
    """The time at which gamma is `level`, from initial <= level; infinite at level 1.

    SA: it is of order e^beta/beta, infinite from beta = 88 (float32) or 709 on; see log_hitting_time.

    >>> round(float(hitting_time(0.9, 4, 0.0)), 6), round(float(hitting_time(0.9, 4, 4.0)), 3)  # ln(37)/2 at beta = 0
    (1.805459, 7.094)
    """
    return _time(*_hit(level, num_tokens, beta, initial), softmax)


def log_hitting_time(
    level: Numbers, num_tokens: Numbers, beta: Numbers, initial: Numbers = 0.0, softmax: bool = True
) -> Float[Array, "*#shape"]:
    """Logarithm of the hitting time, at any beta; -infinity at level = initial.

    >>> round(float(log_hitting_time(0.9, 2, 1000.0) - (1000.0 - jnp.log(2000.0))), 3)  # e^beta/(2 beta) for two tokens
    0.0
    """
    clock, integral, n, beta_, start = _hit(level, num_tokens, beta, initial)
    if not softmax:
        return jnp.log(integral / 2) - beta_ * start
    rest = beta_ * (1 - start)
    return rest + jnp.log(((n - 1) * clock * jnp.exp(-rest) + integral) / (2 * n))


def phase_curve(
    beta: Numbers, num_tokens: Numbers, delta: Numbers = 1e-3, initial: Numbers = 0.0, softmax: bool = True
) -> Float[Array, "*#shape"]:
    """The time at which the tokens are one cluster up to delta, gamma = 1 - delta: the line through the phase diagram.

    >>> round(float(phase_curve(0.0, 32)), 4)  # ln[(n - (n - 1) delta)/delta]/2
    5.1863
    """
    require_positive(delta=delta)
    _check(num_tokens, beta, initial)
    if not any(isinstance(value, Tracer) for value in (delta, initial)):
        lowest, deltas = np.broadcast_arrays(np.asarray(initial), np.asarray(delta))
        if not np.all(deltas <= 1 - lowest):
            raise ValueError(f"delta must be at most 1 - initial, got {delta} with initial {initial}")
    left, n, beta_, start = jnp.broadcast_arrays(*as_floats(delta, num_tokens, beta, initial))
    return _time(*_path(1 - start - left, left, n, beta_, start), softmax)


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
    times, betas = jnp.meshgrid(*as_floats(time, beta))
    return inner_product(times, num_tokens, betas, initial, softmax)


def layer_update(inner_product: Numbers, num_tokens: Numbers, beta: Numbers, step_size: Numbers) -> Float[Array, "*#shape"]:
    """g after one layer x_i <- normalise(x_i + eta sum_j softmax_j x_j), for any step.

    >>> round(float(layer_update(0.0, 2, 0.0, 1.0)), 6)  # (3 e_1 + e_2).(e_1 + 3 e_2)/10
    0.6
    """
    _check(num_tokens, beta)
    require_not_negative(step_size=step_size)
    g, n, beta_, eta = jnp.broadcast_arrays(*as_floats(inner_product, num_tokens, beta, step_size))
    weight = jnp.exp(-beta_ * (1 - g))
    own = 1 / (1 + (n - 1) * weight)  # e^beta/Z
    u, v = 1 + eta * own, eta * weight * own
    product = u**2 * g + 2 * u * v * (1 + (n - 2) * g) + v**2 * ((n - 2) * (1 + (n - 1) * g) + g)
    return product / (u**2 + 2 * u * v * (n - 1) * g + v**2 * (n - 1) * (1 + (n - 2) * g))


def layer_inner_products(
    num_layers: int, num_tokens: Numbers, beta: Numbers, step_size: Numbers, initial: Numbers = 0.0
) -> Float[Array, "layers *#shape"]:
    """g at the input and after each layer: num_layers + 1 of them.

    >>> [round(float(g), 3) for g in layer_inner_products(2, 2, 0.0, 1.0)]
    [0.0, 0.6, 0.882]
    """
    if num_layers < 0:
        raise ValueError(f"num_layers must be at least 0, got {num_layers}")
    _check(num_tokens, beta, initial)
    require_not_negative(step_size=step_size)
    n, beta_, eta, start = jnp.broadcast_arrays(*as_floats(num_tokens, beta, step_size, initial))

    def layer(g: Array, _: None) -> tuple[Array, Array]:
        after = layer_update(g, n, beta_, eta)
        return after, after

    return jnp.concatenate([start[None], jax.lax.scan(layer, start, None, length=num_layers)[1]])


# ---------------------------------------------------------------------------------------------------------------- energy


def energy(tokens: Real[ArrayLike, "token dim"], beta: Number) -> Float[Array, ""]:
    """E = (1/(2 beta n^2)) sum_ij e^(beta <x_i, x_j>), of any tokens; beta > 0. Overflows at beta = 88 in float32.

    >>> round(float(energy(jnp.eye(2), 1.0)), 5)  # (e + 1)/4
    0.92957
    """
    require_positive(beta=beta)
    x, beta_ = as_floats(tokens, beta)
    return jnp.mean(jnp.exp(beta_ * (x @ x.T))) / (2 * beta_)


def energy_rate(tokens: Real[ArrayLike, "token dim"], beta: Number, softmax: bool = True) -> Float[Array, ""]:
    """dE/dt along the flow of the tokens, never negative; beta >= 0.

    >>> round(float(energy_rate(jnp.eye(2), 1.0, softmax=False)), 5)  # each token moves at 1/2
    0.25
    """
    require_not_negative(beta=beta)
    x, beta_ = as_floats(tokens, beta)
    weights = jnp.exp(beta_ * (x @ x.T))
    total = jnp.sum(weights, axis=1)
    pull = weights @ x
    # velocity times Z_i (SA) or n (USA)
    square = jnp.sum((pull - jnp.sum(pull * x, axis=1, keepdims=True) * x) ** 2, axis=1)
    return jnp.mean(square / total) / len(x) if softmax else jnp.mean(square) / len(x) ** 2


def equiangular_energy(inner_product: Numbers, num_tokens: Numbers, beta: Numbers) -> Float[Array, "*#shape"]:
    """E of n tokens, every two of which have one inner product; beta > 0.

    >>> round(float(equiangular_energy(0.0, 2, 1.0)), 5)
    0.92957
    """
    _check(num_tokens, beta)
    require_positive(beta=beta)
    gamma, n, beta_ = jnp.broadcast_arrays(*as_floats(inner_product, num_tokens, beta))
    return (jnp.exp(beta_) + (n - 1) * jnp.exp(beta_ * gamma)) / (2 * beta_ * n)


# ------------------------------------------------------------------------------------------------------------- the circle


def circle_growth_rates(num_modes: int, beta: Numbers, softmax: bool = True) -> Float[Array, "mode *#shape"]:
    """sigma_k of k = 1 ... num_modes waves round the circle, near the uniform density. At beta = 0: 1/2, 0, 0, ...

    To 1e-11 up to beta = 300, to 1e-8 beyond. USA overflows with e^beta.

    >>> [round(float(rate), 4) for rate in circle_growth_rates(4, 9.0)]
    [0.1047, 0.3513, 0.5914, 0.7045]
    """
    if num_modes < 1:
        raise ValueError(f"num_modes must be at least 1, got {num_modes}")
    require_not_negative(beta=beta)
    (beta_,) = as_floats(beta)
    highest = num_modes + 128

    # I_k/I_(k-1) = beta/(2 k + beta I_(k+1)/I_k), downwards, where an error of its start dies out
    def ratio(above: Array, k: Array) -> tuple[Array, Array]:
        here = 1 / (2 * k + beta_**2 * above)  # over beta
        return here, here

    # start (Amos 1974, doi 10.1090/S0025-5718-1974-0333287-7):
    # I_k/I_(k-1) between beta/(k + sqrt(k^2 + beta^2)) and beta/(k - 1 + sqrt((k + 1)^2 + beta^2))
    start = 1 / (highest + 0.5 + jnp.sqrt((highest + 1.5) ** 2 + beta_**2))
    modes = jnp.arange(highest, 0, -1, dtype=beta_.dtype)
    ratios = jax.lax.scan(ratio, start, modes)[1][::-1][:num_modes]
    factors = jnp.concatenate([ratios[:1], beta_[None] * ratios[1:]])
    square = modes[::-1][:num_modes].reshape(-1, *[1] * beta_.ndim) ** 2
    rates = square * jnp.cumprod(factors, axis=0)
    return rates if softmax else rates * i0(beta_)[None]


def num_metastable_clusters(beta: Numbers, largest: int = 64) -> Int[Array, "*#shape"]:
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
    return 1 - initial, initial + 1 / (n - 1)


def _rise(clock: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """h and q at l, each to its own rounding."""
    decay = jnp.exp(-clock)
    total = b + a * decay
    return -a * b * jnp.expm1(-clock) / total, (a + b) * a * decay / total


def _hit(level: Numbers, num_tokens: Numbers, beta: Numbers, initial: Numbers) -> tuple[Array, Array, Array, Array, Array]:
    """The clock at the level, A + B there, and n, beta and the start as arrays."""
    _check(num_tokens, beta, initial)
    if not any(isinstance(value, Tracer) for value in (level, initial)):
        lowest, values = np.broadcast_arrays(np.asarray(initial), np.asarray(level))
        if not np.all((values >= lowest) & (values <= 1)):
            raise ValueError(f"level must be between initial and 1, got {level} with initial {initial}")
    g, n, beta_, start = jnp.broadcast_arrays(*as_floats(level, num_tokens, beta, initial))
    return _path(g - start, 1 - g, n, beta_, start)


def _path(h: Array, q: Array, n: Array, beta: Array, start: Array) -> tuple[Array, Array, Array, Array, Array]:
    """As _hit, from what is risen and what is left."""
    a, b = _distances(n, start)
    clock = jnp.log1p(h / b) + jnp.log1p(h / q)
    A, B = _integrals(clock, beta, a, b)
    return clock, A + B, n, beta, start


def _time(clock: Array, integral: Array, n: Array, beta: Array, start: Array, softmax: bool) -> Array:
    """The time on the clock of SA or USA."""
    if not softmax:
        return jnp.exp(-beta * start) * integral / 2
    half = jnp.exp(beta * (1 - start) / 2)  # twice, so that at the start 0 is 0
    return ((n - 1) * clock + half * (half * integral)) / (2 * n)


@jax.custom_jvp
def _integrals(clock: Array, beta: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """A = int_0^h e^(-beta s)/(a - s) ds and B = int_0^h e^(-beta s)/(b + s) ds, at clock l."""
    h, q = _rise(clock, a, b)
    decay = jnp.exp(-beta * h)
    # beta = 0 to rounding, where A = ln(a/q), B = ln(1 + h/b)
    none = beta < 1e-3 * jnp.finfo(beta.dtype).eps
    x = jnp.where(none, 1, beta)
    first, last = _scaled_ei(jnp.stack([x * a, x * q]))
    A = jnp.where(none, jnp.log(a / q), first - decay * last)
    B = jnp.where(none, jnp.log1p(h / b), _scaled_e1(x * b) - decay * _scaled_e1(x * (b + h)))
    # a short way, on which those would cancel: the pole is at least h away, so n points are within 5.8^(-2n)
    points, weights = (jnp.asarray(values, h.dtype) for values in np.polynomial.legendre.leggauss(12))

    def add(i: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        s = h * (1 + points[i]) / 2
        value = weights[i] / 2 * h * jnp.exp(-beta * s)
        return sums[0] + value / (h + q - s), sums[1] + value / (b + s)

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
    decay, whole = jnp.exp(-beta * h), a + b
    positive = jnp.where(beta > 0, beta, 1)
    exponent = jnp.where(beta > 0, -jnp.expm1(-positive * h) / positive, h)  # int_0^h e^(-beta s) ds
    d_A = decay * (b + h) / whole * d_clock + (exponent - a * A) * d_beta
    d_A += ((1 - decay * (1 + h / whole)) / a - beta * A) * d_a + decay * h / (b * whole) * d_b
    d_B = decay * q / whole * d_clock + (b * B - exponent) * d_beta
    d_B += decay * h / (a * whole) * d_a + (beta * B - (1 - decay * (1 - h / whole)) / b) * d_b
    return (A, B), (d_A, d_B)


def _clock_at(target: Array, linear: Array, beta: Array, a: Array, b: Array) -> Array:
    """The root l of linear l + (A + B)(l) = target, with implicit derivatives; no further than to where q is rounding."""
    eps, tiny = float(jnp.finfo(beta.dtype).eps), float(jnp.finfo(beta.dtype).tiny)

    def excess(clock: Array) -> Array:
        A, B = _integrals(clock, beta, a, b)
        return linear * clock + A + B - target

    end = jax.lax.stop_gradient(jnp.log1p(a / b) - math.log(eps / 16))  # q = eps a/16

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

    return jax.lax.custom_root(excess, end, solve, tangent_solve)


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


def _check(num_tokens: Numbers, beta: Numbers, initial: Numbers | None = None) -> None:
    """Raises ValueError for what is known, not traced, and out of range."""
    require_not_negative(beta=beta)
    if not isinstance(num_tokens, Tracer) and not np.all(np.asarray(num_tokens) >= 2):
        raise ValueError(f"num_tokens must be at least 2, got {num_tokens}")
    if initial is not None and not isinstance(initial, Tracer) and not isinstance(num_tokens, Tracer):
        n, start = np.broadcast_arrays(np.asarray(num_tokens), np.asarray(initial))
        if not np.all((start * (n - 1) > -1) & (start < 1)):
            raise ValueError(f"initial must be above -1/(num_tokens - 1) and below 1, got {initial}")
