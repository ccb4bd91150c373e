r"""Tokens at one common angle under attention: the angle closes along an explicit curve, at any temperature.

Formula. $n$ tokens on the unit sphere, $P_x y = y - \langle x, y \rangle x$, temperature $1/\beta$,
$Z_i = \sum_j e^{\beta \langle x_i, x_j \rangle}$, with softmax (SA) or unnormalised (USA):

$$
\begin{align*}
x_i' &= P_{x_i} \sum_j e^{\beta \langle x_i, x_j \rangle} x_j/Z_i \qquad \text{(SA)} \\
x_i' &= P_{x_i} \sum_j e^{\beta \langle x_i, x_j \rangle} x_j/n \qquad \text{(USA)}
\end{align*}
$$

If all pairs of tokens have the inner product $\gamma$, they keep a common one,

$$
\begin{align*}
\gamma' &= \frac{2 e^{\beta \gamma} (1 - \gamma) ((n - 1) \gamma + 1)}{e^\beta + (n - 1) e^{\beta \gamma}} \qquad \text{(SA)} \\
\gamma' &= \frac{2}{n} e^{\beta \gamma} (1 - \gamma) ((n - 1) \gamma + 1) \qquad \text{(USA)}
\end{align*}
$$

and in both flows $\gamma$ is the same function of a clock $l$, which runs at a different speed in each:

$$
l = \ln \frac{1 + (n - 1) \gamma}{1 - \gamma} - \text{its value at the start}
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

and the energy of `interaction_energy` is $E = \frac{1}{2 \beta n} \left[e^\beta + (n - 1) e^{\beta \gamma}\right]$.

Regime. Exact for every $n$, $\beta$ and time. Independent uniform tokens become equiangular, with $\gamma = 0$ at the start, as
$d \to \infty$ at a fixed $n$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $n$, $d$ | `num_tokens`, `dim` | any | tokens, $2$ to $\infty$; their dimension ($n$ equiangular ones need $n - 1$ or $n$) |
| $\beta$ | `beta` | any | inverse temperature, $\ge 0$, or infinite where a limit exists |
| $t$ | `time` | any | of the flow: one layer of step $\eta$ is $\eta$ |
| $\gamma(t)$ | `inner_product` | any | of any two tokens, cosine of their angle, in $[-1/(n - 1), 1]$ |
| $\gamma(0)$, $g$ | `initial`, `level` | any | at time 0; the level to be reached |
| $1 - \gamma$ | `delta` | any | distance from one cluster |
| $\eta$ | `step_size` | any | of a layer |

Factors. $V = I$, $Q = K = I$. `softmax=True` is SA, `softmax=False` USA, which is faster by a factor of about $Z/n$. At last
$1 - \gamma$ falls as $e^{-2 t}$ (SA) and $e^{-2 e^\beta t}$ (USA); $\gamma$ leaves 0 at the slope $2/(e^\beta + n - 1)$ and
$2/n$.

Source. B. Geshkovski, C. Letrouit, Y. Polyanskiy, P. Rigollet, arXiv 2312.10794: the flows and the equiangular equations, read
in a public formalisation of its statements, not in the paper; no equation number is known to us. The closed forms and the layer
are derived here, as is every start other than $\gamma = 0$; none of these is the paper's.

Finite size. None for equiangular tokens. Uniform ones, $n = 8$ and $\beta = 1$: inner products are off $\gamma(t)$ by at most
0.3 at $d = 64$ and 0.1 at $d = 1024$, then less (found here); proved, according to that formalisation, is
$2 c^{n t} \sqrt{(\log d)/d}$, $c = e^{10 \max(1, \beta)}$, which says nothing at such sizes. The time that is left in a
metastable state falls below rounding: in float32 at $\beta > 20$, $\gamma(t)$ is uncertain where it leaves that state. Where
$1 - \gamma$ is below a sixteenth of a rounding error, $\gamma$ is 1 and flat.

Example. Eight tokens at right angles, six layers of step 1: at $\beta = 0$ they are one cluster, at $\beta = 4$ hardly nearer
to one another.

>>> from closedform.theory.transformers.equiangular_tokens import layer_inner_products
>>> [round(float(g), 3) for g in layer_inner_products(6, 8, 0.0, 1.0)]
[0.0, 0.273, 0.652, 0.887, 0.97, 0.992, 0.998]
>>> [round(float(g), 3) for g in layer_inner_products(6, 8, 4.0, 1.0)]
[0.0, 0.018, 0.038, 0.063, 0.093, 0.131, 0.178]
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics import exact, quadrature
from ..numerics.arguments import ArrayLike, above, at_least, between, require_together, takes
from ..numerics.exponentials import bounded, bounded_exp, times_exp
from ..numerics.roots import climb_to_root
from ..numerics.special import scaled_e1, scaled_ei

Number = Real[ArrayLike, ""]
Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together


@takes(inner_product=between(-1, 1), num_tokens=at_least(2), beta=at_least(0))
def inner_product_rate(
    inner_product: Numbers, num_tokens: Numbers, beta: Numbers, softmax: bool = True
) -> Float[Array, "*shape"]:
    """The rate gamma' at gamma in [-1/(n - 1), 1]. For n infinite, (1 - gamma) gamma times 2, or 2 e^(beta gamma) in USA.

    USA overflows with e^(beta gamma).

    >>> round(float(inner_product_rate(0.0, 4, 0.0)), 6), round(float(inner_product_rate(0.0, 4, 3.0, softmax=False)), 6)  # 2/n
    (0.5, 0.5)
    """
    _check_start(num_tokens, inner_product=inner_product)
    gamma, n, beta_ = jnp.broadcast_arrays(inner_product, num_tokens, bounded(beta))
    path = 2 * (1 - gamma) * (gamma + 1 / (n - 1))
    if not softmax:
        half = bounded_exp(beta_ * gamma / 2)  # twice, so that 0 at gamma = 1 stays 0
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
    t, n, beta_, start = jnp.broadcast_arrays(time, num_tokens, bounded(beta), initial)
    a, b = _distances(n, start)
    # hitting time times 2 n e^(-beta a), or 2 e^(beta initial): linear l + A + B = target, rising and concave in l
    endless, many = jnp.isinf(t), jnp.isinf(n)
    now, m = jnp.where(endless, 0, t), jnp.where(many, 2, n)
    if softmax:
        linear, target = (m - 1) * jnp.exp(-beta_ * a), 2 * m * times_exp(now, -beta_ * a)
    else:
        linear, target = jnp.zeros_like(n), 2 * times_exp(now, beta_ * start)
    clock = _clock_at(jnp.where(endless, jnp.inf, target), linear, beta_, a, b)
    if softmax:
        clock = jnp.where(many, 2 * t, clock)  # a token's own weight is 0: as at beta = 0
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

    SA: it is of order e^beta/beta, infinite from beta = 88 (float32) or 709 on, and its slopes overflow, or are NaN, a little
    before; see log_hitting_time.

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
    require_together("at most 1 - initial", lambda d, lowest: d <= 1 - lowest, delta=delta, initial=initial)
    left, n, beta_, start = jnp.broadcast_arrays(delta, num_tokens, bounded(beta), initial)
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
    return _after_layer(*jnp.broadcast_arrays(inner_product, num_tokens, bounded(beta), step_size))


@takes(num_layers=at_least(0), num_tokens=at_least(2), beta=at_least(0), step_size=at_least(0), initial=between(-1, 1))
def layer_inner_products(
    num_layers: int, num_tokens: Numbers, beta: Numbers, step_size: Numbers, initial: Numbers = 0.0
) -> Float[Array, "layers *shape"]:
    """g at the input and after each layer: num_layers + 1 of them.

    >>> [round(float(g), 3) for g in layer_inner_products(2, 2, 0.0, 1.0)]
    [0.0, 0.6, 0.882]
    """
    _check_start(num_tokens, initial=initial)
    n, beta_, eta, start = jnp.broadcast_arrays(num_tokens, bounded(beta), step_size, initial)

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


@takes(inner_product=between(-1, 1), num_tokens=at_least(2), beta=above(0, finite=True))
def equiangular_energy(inner_product: Numbers, num_tokens: Numbers, beta: Numbers) -> Float[Array, "*shape"]:
    """E of n tokens whose pairs all have one inner product; beta > 0. Overflows where `energy` does.

    >>> round(float(equiangular_energy(0.0, 2, 1.0)), 5)
    0.92957
    """
    _check_start(num_tokens, inner_product=inner_product)
    gamma, n, beta_ = jnp.broadcast_arrays(inner_product, num_tokens, beta)
    return (jnp.exp(beta_ - jnp.log(n)) + (1 - 1 / n) * jnp.exp(beta_ * gamma)) / (2 * beta_)


# --------------------------------------------------------------------------------------------------------- along the path

# An equiangular start has the distance a = 1 - initial from one cluster and b = initial + 1/(n-1) from the regular simplex.
# At clock l the inner product has risen by h, and q = a - h is left: l = ln[(b + h)/b] + ln[a/q].


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
    require_together("between initial and 1", lambda g, lowest: (g >= lowest) & (g <= 1), level=level, initial=initial)
    g, n, beta_, start = jnp.broadcast_arrays(level, num_tokens, bounded(beta), initial)
    return _path(g - start, 1 - g, n, beta_, start)


def _path(h: Array, q: Array, n: Array, beta: Array, start: Array) -> tuple[Array, Array, Array, Array, Array]:
    """The results of `_hit`, from the rise h and the rest q."""
    a, b = _distances(n, start)
    fixed = b == 0  # gamma never moves
    grown = jnp.where(fixed, jnp.where(h > 0, jnp.inf, 0), jnp.log1p(h / jnp.where(fixed, 1, b)))
    clock = grown + jnp.log1p(h / q)
    A, B = _integrals(clock, beta, a, b)
    return clock, A + B, n, beta, start


def _time(clock: Array, integral: Array, n: Array, beta: Array, start: Array, softmax: bool) -> Array:
    """The time on the clock of SA or USA."""
    half = bounded_exp(beta * ((1 - start) if softmax else -start) / 2)  # twice, so that 0 at the start stays 0
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
    first, last = scaled_ei(jnp.stack([x * a, x * q]))
    A = jnp.where(none, jnp.log(a / q), jnp.where(q > 0, first - decay * last, jnp.inf))
    fixed = b == 0
    above_b = jnp.where(fixed, 1, b)
    B = jnp.where(none, jnp.log1p(h / above_b), scaled_e1(x * above_b) - decay * scaled_e1(x * (above_b + h)))
    B = jnp.where(fixed, clock, B)
    # a short way, on which those would cancel: the pole is at least h away, so n points are within 5.8^(-2n)
    points, weights = (jnp.asarray(values, h.dtype) for values in quadrature.legendre(12))

    def add(i: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        s = h * (1 + points[i]) / 2
        value = weights[i] * h * jnp.exp(-beta * s)
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

    def slope(clock: Array) -> Array:
        return linear + jnp.exp(-beta * _rise(clock, a, b)[0])

    end = jax.lax.stop_gradient(jnp.log1p(a / jnp.maximum(b, tiny)) - exact.log(eps / 16))  # q = eps a/16, beyond it is flat
    # the slope is between linear + slowest and linear + 1
    slowest = jnp.exp(-beta * a)
    low = jnp.minimum(target / (linear + 1), end)
    high = jnp.minimum(target / jnp.maximum(linear + slowest, tiny), end)
    return climb_to_root(excess, slope, low, high, end)


def _check_start(num_tokens: Numbers, **inner_product: Numbers) -> None:
    """Raises ValueError for a number that cannot be the inner product of all pairs of num_tokens unit vectors."""
    (start,) = inner_product.values()
    slack = 1 + 4 * float(jnp.finfo(jnp.asarray(start).dtype).eps)
    condition = "at least -1/(num_tokens - 1)"
    require_together(condition, lambda g, n: g >= -slack / (n - 1), **inner_product, num_tokens=num_tokens)
