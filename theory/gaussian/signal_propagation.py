r"""Variance, correlation and gradient in a deep random network, layer by layer: fixed points and the edge of chaos.

Formula. Weights of variance $\sigma_w^2/n$ and biases of variance $\sigma_b^2$; $q$ is the second moment of the pre-activations
of a layer for one input, $c$ their correlation for two inputs of equal $q$. With $K(v, v', c) = \mathbb{E} \phi(A) \phi(B)$ and
$\dot{K} = \mathbb{E} \phi'(A) \phi'(B)$ of `activations`,

$$
\begin{align*}
q_{l+1} &= \sigma_w^2\, K(q_l, q_l, q_l) + \sigma_b^2 \\
c_{l+1} &= \frac{\sigma_w^2\, K(q_l, q_l, c_l q_l) + \sigma_b^2}{q_{l+1}} \\
\chi(q, c) &= \sigma_w^2\, \dot{K}(q, q, c\, q)
\end{align*}
$$

$\chi_1 = \chi(q, 1)$ is the factor by which the second moment of the gradient in the pre-activations grows from a layer to the
one before it. At the fixed point $q_*$ of the first map, $\chi_1$ is the slope of the second map at $c = 1$: inputs nearby
come nearer for $\chi_1 < 1$ (ordered phase, $c_* = 1$) and part for $\chi_1 > 1$ (chaotic phase, $c_* < 1$). The edge of chaos
is $\chi_1 = 1$. A distance to the fixed point falls as $e^{-l/\xi}$ with the depth scale $\xi = 1/|\ln \chi(q_*, c_*)|$.

LSUV keeps $q_l = 1$ with $\sigma_w^2 = 1/m_2$, $m_2 = K(1, 1, 1)$: the gain of the activation is $m_2^{-1/2}$. For orthonormal
weights of $n$ inputs and $n'$ outputs this is the factor $\sqrt{\max(1, n'/n)/m_2}$. Unit variance over all entries is not unit
variance of a unit: over independent inputs a unit's variance is the share $1 - c_l$ of the second moment, from $c_0 = 0$.

Regime. All widths $\to \infty$ at fixed depth; weights independent of the inputs, of any law with these variances (orthonormal
weights have $\sigma_w^2 = \min(1, n/n')$ and the same maps). Gradients: layers of equal width,
and weights of the backward pass count as independent of the forward pass (exact in this limit; recalled).

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\phi$ | `activation` | function | "tanh", any function (see `any_activation`), or an `Activation` |
| $\sigma_w^2$, $\sigma_b^2$ | `weight_variance`, `bias_variance` | any | variance of a weight times the fan-in; of a bias |
| $q$, $q_*$ | `variance`, `FixedPoint.variance` | any | second moment of the pre-activations; its fixed point |
| $c$, $c_*$ | `correlation` | any | between two inputs; its fixed point |
| $\chi$, $\chi_1$ | `chi` | any | slope of the correlation map; $\chi_1$ is $\chi$ at correlation 1 |
| $\xi$ | `depth_scale` | any | layers over which a distance changes by the factor $e$ |
| $m_2$ | `mean_square` | any | $\mathbb{E} \phi(\sqrt q\, z)^2$, $z \sim N(0, 1)$ |

Factors. $\sigma_w^2$ is the fan-in times the variance of a weight: He's initialisation is 2, Glorot's is 1 for square layers.
A depth scale belongs to $1 - c$ or to second moments of gradients, not to their roots.

Source. B. Poole, S. Lahiri, M. Raghu, J. Sohl-Dickstein, S. Ganguli, arXiv 1606.05340 (the maps, the phases); S. Schoenholz,
J. Gilmer, S. Ganguli, J. Sohl-Dickstein, arXiv 1611.01232 (depth scales, gradients); both recalled, not re-read. D. Mishkin,
J. Matas, arXiv 1511.06422 (LSUV). Derived here: the gains and factors of LSUV, the variance of a unit, the fluctuations of
`log_second_moment`.

Finite size. $q$, $c$ and the gradients of one network fluctuate by $O(\sqrt{L/n})$, and their means are off by $O(L/n)$, if
the variance map is stable. Under LSUV its slope at $q = 1$ is 1 for ReLU, 0.46 for tanh and 0.11 for sigmoid, but 1.14 for GELU
and 1.17 for SiLU. LSUV keeps the mean over inputs at 1, and differences between the $q$ of inputs grow by this factor per
layer (found here). There the variance of a unit is that of `per_unit_variance` in the first layers only.

Example. Under LSUV tanh is chaotic, sigmoid is ordered, and ReLU is at the edge:

>>> from closedform.theory.gaussian import signal_propagation
>>> for name in ("tanh", "sigmoid", "relu"):
...     gain = signal_propagation.gain(name)
...     print(name, round(float(gain), 4), round(float(signal_propagation.chi(1.0, name, gain**2)), 4))
tanh 1.5925 1.1778
sigmoid 1.8462 0.1528
relu 1.4142 1.0
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import CORRELATION, ArrayLike, above, at_least, between, takes
from .activations import Activation
from .any_activation import AnyActivation, activation_of

Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together
Floats = Float[Array, "*shape"]
SIZE, COUNT = at_least(0, finite=True), at_least(1, finite=True)


@documented
class Layers(NamedTuple):
    """Second moments, correlations and slopes, layer by layer; the first layer is the one that was given."""

    variance: Float[Array, "layer *shape"]  # q_l
    correlation: Float[Array, "layer *shape"]  # c_l
    chi: Float[Array, "layer *shape"]  # chi(q_l, 1): second moment of the gradient at layer l over that at layer l + 1


@documented
class FixedPoint(NamedTuple):
    """Where variance and correlation settle in a deep network."""

    variance: Float[Array, "*#shape"]  # q*; infinite where the variance grows without end
    correlation: Float[Array, "*#shape"]  # c*, reached from correlation 0; 1 in the ordered phase
    chi: Float[Array, "*#shape"]  # chi_1 = chi(q*, 1)
    slope: Float[Array, "*#shape"]  # chi(q*, c*), of the correlation map at its fixed point: at most 1


@documented
class Edge(NamedTuple):
    """A point on the edge of chaos."""

    weight_variance: Float[Array, "*#shape"]  # sigma_w^2
    variance: Float[Array, "*#shape"]  # q*


@documented
class LogMoments(NamedTuple):
    """Mean and variance over networks of the logarithm of a second moment."""

    mean: Float[Array, "*#shape"]
    variance: Float[Array, "*#shape"]


# ----------------------------------------------------------------------------------------------------------- LSUV's gain


@takes(variance=SIZE)
def mean_square(activation: AnyActivation, variance: Numbers = 1.0) -> Float[Array, "*#shape"]:
    """m_2, the mean of phi(z)^2 for a centred Gaussian z.

    >>> float(mean_square("relu", 4.0))
    2.0
    """
    return activation_of(activation).dual(variance, variance, variance)


@takes(variance=SIZE)
def gain(activation: AnyActivation, variance: Numbers = 1.0) -> Float[Array, "*#shape"]:
    """m_2^(-1/2), the root of the weight variance that turns pre-activations of this variance into ones of variance 1.

    It is infinite where the activation vanishes.

    >>> round(float(gain("relu")), 6), round(float(gain("tanh")), 6)
    (1.414214, 1.592537)
    """
    return 1 / jnp.sqrt(mean_square(activation, variance))


@takes(fan_in=COUNT, fan_out=COUNT, mean_square=above(0, finite=True))
def lsuv_scale(fan_in: Numbers, fan_out: Numbers, mean_square: Numbers = 1.0) -> Float[Array, "*#shape"]:
    """What LSUV multiplies orthonormal weights by: sqrt(max(1, fan_out/fan_in)/mean_square).

    `mean_square` is the mean square of what enters the layer: of the data for the first layer, m_2 of the activation for
    others.

    >>> float(lsuv_scale(300, 300, 0.25)), float(lsuv_scale(100, 400)), float(lsuv_scale(400, 100))
    (2.0, 2.0, 1.0)
    """
    return jnp.sqrt(jnp.maximum(fan_out / fan_in, 1) / mean_square)


# ------------------------------------------------------------------------------------------------------------------ maps


@takes(variance=SIZE, weight_variance=SIZE, bias_variance=SIZE)
def variance_map(
    variance: Numbers, activation: AnyActivation, weight_variance: Numbers, bias_variance: Numbers = 0.0
) -> Float[Array, "*#shape"]:
    """q_{l+1} of q_l.

    >>> float(variance_map(3.0, "relu", 2.0, 0.5))
    3.5
    """
    return _variance_map(activation_of(activation), *jnp.broadcast_arrays(variance, weight_variance, bias_variance))


@takes(correlation=CORRELATION, variance=SIZE, weight_variance=SIZE, bias_variance=SIZE)
def correlation_map(
    correlation: Numbers,
    variance: Numbers,
    activation: AnyActivation,
    weight_variance: Numbers,
    bias_variance: Numbers = 0.0,
) -> Float[Array, "*#shape"]:
    """c_{l+1} of c_l and q_l; 1 where the next layer is 0, as for equal numbers.

    >>> round(float(correlation_map(0.0, 1.0, "relu", 2.0)), 6)  # 1/pi
    0.31831
    """
    c, q, sw, sb = jnp.broadcast_arrays(correlation, variance, weight_variance, bias_variance)
    return _correlation_map(activation_of(activation), c, q, sw, sb)


@takes(variance=SIZE, weight_variance=SIZE, correlation=CORRELATION)
def chi(
    variance: Numbers, activation: AnyActivation, weight_variance: Numbers, correlation: Numbers = 1.0
) -> Float[Array, "*#shape"]:
    """chi(q, c); at correlation 1 the factor of the second moment of the gradient per layer.

    >>> float(chi(5.0, "relu", 2.0))
    1.0
    """
    q, sw, c = jnp.broadcast_arrays(variance, weight_variance, correlation)
    return sw * activation_of(activation).derivative_dual(q, q, _covariance(c, q))


@takes(num_layers=at_least(1), variance=SIZE, correlation=CORRELATION, weight_variance=SIZE, bias_variance=SIZE)
def propagate(
    num_layers: int,
    variance: Numbers,
    correlation: Numbers,
    activation: AnyActivation,
    weight_variance: Numbers,
    bias_variance: Numbers = 0.0,
) -> Layers:
    """q_l, c_l and chi_l of num_layers layers, from the variance and correlation of the first layer's pre-activations.

    >>> propagate(3, 4.0, 1.0, "relu", 1.0).variance.tolist()
    [4.0, 2.0, 1.0]
    """
    kernels = activation_of(activation)
    q, c, sw, sb = jnp.broadcast_arrays(variance, correlation, weight_variance, bias_variance)

    def layer(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Layers]:
        q, c = state
        slope = sw * kernels.derivative_dual(q, q, q)
        return (_variance_map(kernels, q, sw, sb), _correlation_map(kernels, c, q, sw, sb)), Layers(q, c, slope)

    return jax.lax.scan(layer, (q, _bounded(c)), None, length=num_layers)[1]


@takes(num_layers=at_least(1), correlation=CORRELATION)
def per_unit_variance(num_layers: int, activation: AnyActivation, correlation: Numbers = 0.0) -> Float[Array, "layer *shape"]:
    r"""1 - c_l under LSUV: the variance over the data of one unit, where the variance over all entries is 1.

    Of num_layers layers, the first of which has the correlation of the inputs, 0 for independent ones. For ReLU it falls as
    $9 \pi^2/(2 l^2)$.

    >>> [round(float(variance), 3) for variance in per_unit_variance(3, "relu")]
    [1.0, 0.682, 0.506]
    """
    one = jnp.ones_like(correlation)
    return 1 - propagate(num_layers, one, correlation, activation, one / mean_square(activation, one)).correlation


def _variance_map(kernels: Activation, q: Floats, sw: Floats, sb: Floats) -> Floats:
    return sw * kernels.dual(q, q, q) + sb


def _correlation_map(kernels: Activation, c: Floats, q: Floats, sw: Floats, sb: Floats) -> Floats:
    after = _variance_map(kernels, q, sw, sb)
    return jnp.where(after > 0, (sw * kernels.dual(q, q, _covariance(c, q)) + sb) / jnp.where(after > 0, after, 1), 1)


def _covariance(c: Floats, q: Floats) -> Floats:
    return _bounded(c) * q


def _bounded(c: Floats) -> Floats:
    """A correlation beyond 1 by rounding counts as 1; at 1 itself its slope is kept."""
    return jnp.where(jnp.abs(c) > 1, jnp.sign(c), c)


# ---------------------------------------------------------------------------------------------------------- fixed points


@takes(weight_variance=SIZE, bias_variance=SIZE, start=SIZE)
def fixed_point(
    activation: AnyActivation, weight_variance: Numbers, bias_variance: Numbers = 0.0, start: Numbers = 1.0
) -> FixedPoint:
    """Where the variance goes from `start` and, at that variance, the correlation from 0, for a mean square that rises.

    A variance that grows without end, or beyond 1e7 times the sum of the three numbers, is infinite. Correlation and slopes are
    then those at variance 1 without biases: exact for a function that is linear on both sides of 0. If the variance falls to 0,
    the correlation counts as 1, and chi is that of the linear part. Half of the digits are left where the variance falls slower
    than exponentially, as for tanh at weight variance 1 without biases.

    >>> point = fixed_point("relu", 1.0, 0.5)
    >>> float(point.variance), float(point.correlation), float(point.chi)
    (1.0, 1.0, 0.5)
    """
    kernels = activation_of(activation)
    sw, sb, start = jnp.broadcast_arrays(weight_variance, bias_variance, start)
    q = _fixed_variance(kernels, sw, sb, start)
    finite = jnp.where(jnp.isinf(q), 1, q)
    bias = jnp.where(jnp.isinf(q), 0, sb)
    slope_at_1 = sw * kernels.derivative_dual(finite, finite, finite)
    after = _variance_map(kernels, finite, sw, bias)
    ratio = jnp.where(jnp.isinf(q), finite / jnp.where(after > 0, after, 1), 1)  # q/q' where the variance grows
    ordered = (slope_at_1 * ratio <= 1) | (q == 0)
    c = _fixed_correlation(kernels, finite, sw, bias, ordered)
    slope = jnp.where(ordered, slope_at_1, sw * kernels.derivative_dual(finite, finite, _covariance(c, finite)))
    return FixedPoint(q, c, slope_at_1, slope * ratio)


@takes(chi=at_least(0))
def depth_scale(chi: Numbers) -> Float[Array, "*#shape"]:
    """xi = 1/|ln chi|: infinite at chi = 1, and 0 at chi = 0, where nothing is left after one layer.

    >>> round(float(depth_scale(0.5)), 4), float(depth_scale(1.0))
    (1.4427, inf)
    """
    inner = (chi > 0) & (chi < jnp.inf) & (chi != 1)
    size = jnp.abs(jnp.log(jnp.where(inner, chi, 2)))
    return jnp.where(inner, 1 / size, jnp.where(chi == 1, jnp.inf, 0))


@takes(bias_variance=SIZE)
def edge_of_chaos(activation: AnyActivation, bias_variance: Numbers = 0.0) -> Edge:
    """The weight variance at which chi_1 = 1 at the fixed point; infinite where there is none, as for ReLU with biases.

    With the fixed point as the unknown, sigma_w^2 = 1/E phi'^2, it is the first q with
    (q - sigma_b^2) E phi'(sqrt(q) z)^2 = E phi(sqrt(q) z)^2.

    >>> edge = edge_of_chaos("tanh", 0.05)
    >>> round(float(edge.weight_variance), 4), round(float(edge.variance), 4)
    (1.761, 0.57)
    """
    kernels = activation_of(activation)

    def excess(q: Floats, sb: Floats) -> Floats:
        return (q - sb) * kernels.derivative_dual(q, q, q) - kernels.dual(q, q, q)

    sb = bias_variance
    q = _first_root(excess, sb)
    finite = jnp.where(jnp.isinf(q), 1, q)
    slope = kernels.derivative_dual(finite, finite, finite)
    return Edge(jnp.where(jnp.isinf(q) | (slope == 0), jnp.inf, 1 / jnp.where(slope == 0, 1, slope)), q)


def _fixed_variance(kernels: Activation, sw: Floats, sb: Floats, start: Floats) -> Floats:
    """The limit of q <- sigma_w^2 K(q) + sigma_b^2, by Steffensen's steps after a dozen of the map itself.

    A step goes to the fixed point of the line through the last two points of the map; on a concave map it stays above the
    fixed point, as Newton's does. Where the line rises faster than 1 the map goes on by itself.
    """
    eps = float(jnp.finfo(sw.dtype).eps)
    fixed = jax.lax.stop_gradient((sw, sb))
    begin = jax.lax.stop_gradient(start)
    limit = 1e7 * (begin + fixed[0] + fixed[1])  # what is larger, or still rises at the end, counts as infinite
    gone = eps**2 * (begin + fixed[0])  # what is smaller counts as 0, without biases

    def bounded_map(q: Floats) -> Floats:
        return _variance_map(kernels, jnp.minimum(q, limit), *fixed)

    def moves(q: Floats, after: Floats) -> Array:
        return (jnp.abs(after - q) > 4 * eps * q) & (q < limit) & ((q > gone) | (fixed[1] > 0) | (after > q))

    def solve(_, __) -> Floats:
        def going(state: tuple) -> Array:
            q, after, steps = state
            return jnp.any(moves(q, after)) & (steps < 500)

        def step(state: tuple) -> tuple:
            q, after, steps = state
            twice = bounded_map(after)
            first = after - q
            ratio = (twice - after) / jnp.where(first == 0, 1, first)
            jump = q + first / jnp.where(ratio < 1, 1 - ratio, 1)
            taken = jnp.where((ratio < 1) & (jump >= 0) & (steps >= 12), jump, twice)
            q = jnp.where(moves(q, after), taken, q)
            return q, bounded_map(q), steps + 1

        q, after, _ = jax.lax.while_loop(going, step, (begin, bounded_map(begin), 0))
        q = jnp.where(moves(q, after) & (after > q), limit, q)
        return jnp.where((q <= gone) & (fixed[1] == 0), 0, jnp.minimum(q, limit))

    root = jax.lax.custom_root(lambda q: q - _variance_map(kernels, q, sw, sb), begin, solve, _divided)
    return jnp.where((root >= limit) & (limit > 0), jnp.inf, root)


def _fixed_correlation(kernels: Activation, q: Floats, sw: Floats, sb: Floats, ordered: Array) -> Floats:
    """c* < 1 by Newton's method from 0, which climbs, since the map is convex in c; 1 in the ordered phase."""
    eps = float(jnp.finfo(q.dtype).eps)
    fixed = jax.lax.stop_gradient((q, sw, sb))

    def solve(_, __) -> Floats:
        def newton(c: Floats) -> Floats:
            q, sw, sb = fixed
            after = _variance_map(kernels, q, sw, sb)
            slope = sw * kernels.derivative_dual(q, q, _covariance(c, q)) * q / jnp.where(after > 0, after, 1)
            climbed = c + (_correlation_map(kernels, c, *fixed) - c) / jnp.where(slope < 1, 1 - slope, 1)
            return jnp.where(ordered, c, jnp.clip(climbed, c, 1))

        def climbing(state: tuple) -> Array:
            before, c, steps = state
            return jnp.any(c > before + 4 * eps * jnp.abs(c)) & (steps < 200)

        return jax.lax.while_loop(
            climbing, lambda state: (state[1], newton(state[1]), state[2] + 1), (jnp.zeros_like(q) - 1, jnp.zeros_like(q), 0)
        )[1]

    root = jax.lax.custom_root(lambda c: c - _correlation_map(kernels, c, q, sw, sb), jnp.zeros_like(q), solve, _divided)
    return jnp.where(ordered, 1, root)


def _first_root(excess: Callable[[Floats, Floats], Floats], sb: Floats) -> Floats:
    """The smallest q >= sigma_b^2 from which on the excess is positive, in the first octave of q - sigma_b^2 that holds one."""
    fixed = jax.lax.stop_gradient(sb)
    octaves = (2.0 ** jnp.arange(-60, 41, dtype=sb.dtype)).reshape(-1, *[1] * sb.ndim)
    sizes, biases = jnp.broadcast_arrays(octaves, fixed[None])
    after = excess(biases + sizes, biases) > 0
    found, high = jnp.any(after, axis=0), octaves.ravel()[jnp.argmax(after, axis=0)]
    at_once = excess(fixed, fixed) >= 0  # without biases, an activation that vanishes at 0: q = 0

    def solve(_, __) -> Floats:
        def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = (low + high) / 2
            above = excess(fixed + middle, fixed) > 0
            return jnp.where(above, low, middle), jnp.where(above, middle, high)

        low, end = jax.lax.fori_loop(0, 60, halve, (high / 2, high))
        return jnp.where(at_once, fixed, jnp.where(found, fixed + (low + end) / 2, fixed + 1))

    root = jax.lax.custom_root(lambda q: excess(q, sb), jnp.zeros_like(sb), solve, _divided)
    return jnp.where(found | at_once, root, jnp.inf)


def _divided(linear_fn: Callable[[Array], Array], value: Array) -> Array:
    slope = linear_fn(jnp.ones_like(value))
    return value / jnp.where(slope == 0, jnp.inf, slope)


# ---------------------------------------------------------------------------------------------------------- finite width


@takes(num_layers=at_least(0, finite=True), width=COUNT, slope=between(-1, 1))
def log_second_moment(num_layers: Numbers, width: Numbers, slope: Numbers = 0.0) -> LogMoments:
    r"""Mean and variance of ln q after num_layers layers, over networks with Gaussian weights of variance 1/(m_2 width).

    For the activation that is z for z > 0 and slope z otherwise: 0 is ReLU with He's weights, 1 linear. To leading order in
    1/width. With $\kappa = \operatorname{Var} \phi(z)^2/m_2^2$, which is 5 for ReLU and 2 for a linear layer, the variance is
    $\kappa L/n$ and the mean $-\kappa L/(2 n)$. The next order, of ReLU, is 18.5 L/n^2 and -4.1 L/n^2 (derived here).

    >>> [float(moment) for moment in log_second_moment(20, 200)]
    [-0.25, 0.5]
    """
    share = slope / (1 + slope**2)
    variance = (5 - 12 * share**2) * num_layers / width  # 6 (1 + a^4)/(1 + a^2)^2 - 1 = 5 - 12 a^2/(1 + a^2)^2
    return LogMoments(-variance / 2, variance)
