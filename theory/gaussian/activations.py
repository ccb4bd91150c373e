r"""Dual activations: the mean product of an activation, or of its derivative, at two centred Gaussian numbers.

Formula. For centred $A$, $B$ of variances $v_i$ and covariance $c$, $K(v_1, v_2, c) = \mathbb{E} f(A) f(B)$ has, for every $f$,

$$
\begin{align*}
\frac{\partial K}{\partial c} &= \mathbb{E} f'(A) f'(B) \\
\frac{\partial K}{\partial v_1} &= \frac{\mathbb{E} A f'(A) f(B) - c\, \mathbb{E} f'(A) f'(B)}{2 v_1}
\end{align*}
$$

and in closed form, with $\rho = c/\sqrt{v_1 v_2}$, $J_n$ of `relu_moments`, $D = (1 + 2 v_1)(1 + 2 v_2) - 4 c^2$,

$$
\begin{align*}
\operatorname{relu}: \quad K &= \sqrt{v_1 v_2}\, J_1(\rho) \\
\operatorname{relu}^2: \quad K &= v_1 v_2\, J_2(\rho) \\
\operatorname{erf}: \quad K &= \frac{2}{\pi} \arcsin \frac{2 c}{\sqrt{(1 + 2 v_1)(1 + 2 v_2)}} \\
e^{-z^2}: \quad K &= D^{-1/2} \\
\cos: \quad K &= e^{-(v_1 + v_2)/2} \cosh c \\
\sin: \quad K &= e^{-(v_1 + v_2)/2} \sinh c
\end{align*}
$$

Regime. Exact for every variance $\ge 0$. Covariances that exceed $\sqrt{v_1 v_2}$ by rounding, up to $10^{-5}$ of it, count as
$\pm \sqrt{v_1 v_2}$; larger ones are refused.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $v_i$, $c$ | `variance_i`, `covariance` | any | second moments of a centred pair |
| $f$, $f'$ | `activation_fn` | elementwise | activation and its derivative |
| $\mathbb{E} f f$, $\mathbb{E} f' f'$ | `Activation.dual`, `.derivative_dual` | any | functions of $f$ in NNGP and NTK |

Factors. None: `relu.dual(1, 1, 1)` is $\mathbb{E} \operatorname{relu}(Z)^2 = 1/2$, without He's factor 2.

Source. C. K. I. Williams, "Computing with infinite networks", 1996, papers.nips.cc/paper/1197-computing-with-infinite-networks
(erf); the derivatives in $c$ are Price's theorem (doi 10.1109/TIT.1958.1057444). Recalled, and checked here against numerical
integrals, not re-read. Derived here: $\partial K/\partial v$ by parts, the symmetric quadrature.

Finite size. None. The duals of erf, cosine, sine and the Gaussian keep their relative accuracy at variances from 1e-12 to 1e12,
also where the correlation is 1. The docstring of `by_quadrature` gives its errors.

Example. Two numbers of variance 1 and covariance 1/2, through ReLU, erf and tanh:

>>> import jax.numpy as jnp
>>> from closedform.theory.gaussian import activations
>>> tanh = activations.by_quadrature(jnp.tanh)
>>> [round(float(one.dual(1.0, 1.0, 0.5)), 4) for one in (activations.relu, activations.erf, tanh)]
[0.3045, 0.2163, 0.1863]
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ROUNDING, ArrayLike, as_floats, at_least, known, takes
from ..numerics.derivatives import directional, reciprocal
from ..numerics.roots import square_root
from ..numerics.special import arcsine, arcsine_by_complement
from .relu_moments import arc_cosine

Number = Real[ArrayLike, ""]
Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together
Floats = Float[Array, "*shape"]
DualFn = Callable[[Numbers, Numbers, Numbers], Float[Array, "..."]]  # of variance_1, variance_2, covariance
ElementwiseFn = Callable[[Float[Array, "..."]], Float[Array, "..."]]

VARIANCE = at_least(0, finite=True)


@documented
class Activation(NamedTuple):
    """The two kernels of an activation f in infinitely wide layers, elementwise in variance_1, variance_2, covariance.

    Variances >= 0 and |covariance| <= sqrt(variance_1 variance_2). Differentiable also for variance 0 and at
    covariance^2 = variance_1 variance_2 (where a slope is infinite: 0).
    """

    dual: DualFn  # E f(A) f(B)
    derivative_dual: DualFn  # E f'(A) f'(B)


def leaky_relu(slope: Any) -> Activation:
    """f(z) = z for z > 0, slope z otherwise: relu for 0, the absolute value for -1, linear for 1.

    If both variances are 0 the correlation counts as 1, as for equal numbers; if one is 0 it counts as 0. `slope` is one
    number, converted to the dtype of the variances.
    """
    _checked_slope(slope)
    return _leaky_relu(slope)


@takes(slope=FINITE)
def _checked_slope(slope: Number) -> Array:
    return jnp.asarray(slope)


@takes(num_nodes=at_least(2))
def by_quadrature(activation_fn: ElementwiseFn, num_nodes: int = 64) -> Activation:
    """The kernels of any smooth elementwise f, by num_nodes^2 evaluations an entry; f' by jax.grad, dK/dv by parts or f''.

    The trapezoidal rule on |z| <= 9, in both directions of A/s_1 = x cos t + y sin t, B/s_2 = x cos t - y sin t with
    cos 2t = rho: for Gaussians its error falls exponentially, as exp(-4 pi^2/step^2) or, for a pole at +-i p of f, as
    exp(-2 pi p/(s step)). Errors found at variance 1, of K and of its slope in c: for tanh 1e-5 and 1e-4 with 32 nodes,
    4e-13 and 3e-11 with 64; for gelu and sine 1e-15 with 64. For relu 5e-5 and 1e-2: for an f with kinks use a closed form.
    Rounding is some eps of E |f(A) f(B)|: little is left of a kernel far below it, as that of a cosine of large variance.
    """
    derivative_fn = _elementwise_grad(activation_fn)
    return Activation(*(_closed_form(partial(_pair_quadrature, f, f, num_nodes)) for f in (activation_fn, derivative_fn)))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _pair_quadrature(f: ElementwiseFn, g: ElementwiseFn, num_nodes: int, v1: Floats, v2: Floats, c: Floats) -> Floats:
    """E f(A) g(B)."""
    points = np.linspace(-9, 9, num_nodes)
    weights = np.exp(-(points**2) / 2)
    nodes, shares = jnp.asarray(points, c.dtype), jnp.asarray(weights / weights.sum(), c.dtype)
    rho = _correlation(v1, v2, c)
    cosine, sine_y = square_root((1 + rho) / 2), square_root((1 - rho) / 2)[..., None] * _along_last(nodes, c.ndim)
    s1, s2, y_shares = square_root(v1)[..., None], square_root(v2)[..., None], _along_last(shares, c.ndim)

    def add_node(total: Floats, node: tuple[Array, Array]) -> tuple[Floats, None]:
        x, share = node
        centre = (x * cosine)[..., None]
        inner = jnp.sum(y_shares * f(s1 * (centre + sine_y)) * g(s2 * (centre - sine_y)), axis=-1)
        return total + share * inner, None

    return jax.lax.scan(add_node, jnp.zeros_like(c), (nodes, shares))[0]


@_pair_quadrature.defjvp
def _pair_quadrature_jvp(f, g, num_nodes, primals, tangents):
    """dK/dc = E f' g'; dK/dv_1 = (E A f'(A) g(B) - c E f' g')/(2 v_1), which a kink does not spoil, = E f'' g/2.

    By parts the rounding is eps/sqrt(v_1) for numbers of order 1; below v_1 = eps^(2/3), where it exceeds that, f'' is used.
    """
    v1, v2, c = primals
    mean = partial(_pair_quadrature, num_nodes=num_nodes, v1=v1, v2=v2, c=c)
    df, dg = _elementwise_grad(f), _elementwise_grad(g)
    by_c = mean(df, dg)

    def by_variance(v: Floats, other: Floats, by_parts: Floats, smooth: Floats) -> Floats:
        small = v < float(jnp.finfo(v.dtype).eps) ** (2 / 3) * jnp.maximum(other, 1)
        return jnp.where(small, smooth, (by_parts - c * by_c) / jnp.where(small, 1, v)) / 2

    by_v1 = by_variance(v1, v2, mean(lambda z: z * df(z), g), mean(_elementwise_grad(df), g))
    by_v2 = by_variance(v2, v1, mean(f, lambda z: z * dg(z)), mean(f, _elementwise_grad(dg)))
    return mean(f, g), by_v1 * tangents[0] + by_v2 * tangents[1] + by_c * tangents[2]


def _elementwise_grad(f: ElementwiseFn) -> ElementwiseFn:
    return lambda z: jax.jvp(f, (z,), (jnp.ones_like(z),))[1]


def _along_last(x: Float[Array, "n"], ndim: int) -> Float[Array, "..."]:
    return x.reshape((1,) * ndim + x.shape)


def _closed_form(formula_fn: Callable[[Array, Array, Array], Array]) -> DualFn:
    compiled = jax.jit(formula_fn)

    @takes(variance_1=VARIANCE, variance_2=VARIANCE, covariance=FINITE)
    def dual(variance_1: Numbers, variance_2: Numbers, covariance: Numbers) -> Float[Array, "*shape"]:
        require_covariance(variance_1, variance_2, covariance)
        return compiled(*jnp.broadcast_arrays(variance_1, variance_2, covariance))

    return dual


def require_covariance(variance_1: Any, variance_2: Any, covariance: Any) -> None:
    """Raises ValueError where values that are known, not traced, have covariance^2 > variance_1 variance_2 beyond rounding."""
    if not known(variance_1, variance_2, covariance):
        return
    v1, v2, c = (np.asarray(value, float) for value in (variance_1, variance_2, covariance))
    excess = np.abs(c) - (1 + ROUNDING) * np.sqrt(v1) * np.sqrt(v2)
    if np.any(excess > 0):
        worst = np.broadcast_to(c, excess.shape)[np.unravel_index(np.argmax(excess), excess.shape)]
        raise ValueError(f"covariance must be at most sqrt(variance_1 variance_2) in size, got {worst:g}")


# ------------------------------------------------------------------------------------------------- homogeneous functions


def _geometric_mean(v1: Floats, v2: Floats) -> Floats:
    """sqrt(v_1 v_2): exact for equal variances, and without overflow or underflow of their product."""
    product, limits = v1 * v2, jnp.finfo(v1.dtype)
    usual = (product > float(limits.tiny / limits.eps)) & (product < float(limits.max))
    mean = jnp.where(usual, jnp.sqrt(jnp.where(usual, product, 1)), square_root(v1) * square_root(v2))
    return jnp.where(v1 == v2, v1, mean)


@jax.custom_jvp
def _correlation(v1: Floats, v2: Floats, c: Floats) -> Floats:
    """c/sqrt(v_1 v_2); 0 if one variance is 0, and 1 if both are.

    Within 4 eps of +-1 it counts as +-1: an error e there costs J_0 sqrt(2 e)/(2 pi).
    """
    scale = _geometric_mean(v1, v2)
    ratio = jnp.where(scale == 0, ((v1 == 0) & (v2 == 0)).astype(c.dtype), c / jnp.where(scale == 0, 1, scale))
    ratio = jnp.where(jnp.isinf(scale) & jnp.isinf(c), jnp.sign(c), ratio)  # moments of deep networks that overflow
    return jnp.where(jnp.abs(ratio) > 1 - 4 * float(jnp.finfo(ratio.dtype).eps), jnp.sign(ratio), ratio)


@_correlation.defjvp
def _correlation_jvp(primals, tangents):
    v1, v2, _ = primals
    rho = _correlation(*primals)
    by_c = reciprocal(square_root(v1)) * reciprocal(square_root(v2))
    return rho, by_c * tangents[2] - rho / 2 * (reciprocal(v1) * tangents[0] + reciprocal(v2) * tangents[1])


def _deviation_ratio(v1: Floats, v2: Floats) -> Floats:
    """s_1/s_2, and 0 for s_2 = 0."""
    return jnp.where(v1 == v2, (v1 > 0).astype(v1.dtype), square_root(v1) * reciprocal(square_root(v2)))


@jax.custom_jvp
def _relu_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
    return _geometric_mean(v1, v2) * arc_cosine(1, _correlation(v1, v2, c))


@_relu_dual.defjvp
def _relu_dual_jvp(primals, tangents):
    """d/dc = J_0; d/dv_1 = (J_1 - rho J_0) s_2/(2 s_1) = q s_2/(4 pi s_1)."""
    v1, v2, _ = primals
    rho = _correlation(*primals)
    q = square_root((1 - rho) * (1 + rho)) / (4 * math.pi)
    slopes = q * _deviation_ratio(v2, v1), q * _deviation_ratio(v1, v2), arc_cosine(0, rho)
    return _relu_dual(*primals), directional(slopes, tangents)


@jax.custom_jvp
def _absolute_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
    """E |A| |B| = (2/pi) s_1 s_2 (q + rho arcsin rho), a sum of positive terms."""
    rho = _correlation(v1, v2, c)
    return 2 / math.pi * _geometric_mean(v1, v2) * (square_root((1 - rho) * (1 + rho)) + rho * arcsine(rho))


@_absolute_dual.defjvp
def _absolute_dual_jvp(primals, tangents):
    v1, v2, _ = primals
    rho = _correlation(*primals)
    q = square_root((1 - rho) * (1 + rho)) / math.pi
    slopes = q * _deviation_ratio(v2, v1), q * _deviation_ratio(v1, v2), 2 / math.pi * arcsine(rho)
    return _absolute_dual(*primals), directional(slopes, tangents)


def _leaky_relu(slope: Number) -> Activation:
    """f(z) = (1 + a) z/2 + (1 - a) |z|/2; z and |z| of a centred pair do not correlate."""

    def dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
        v1, v2, c, a = as_floats(v1, v2, c, slope)
        return ((1 + a) / 2) ** 2 * c + ((1 - a) / 2) ** 2 * _absolute_dual(v1, v2, c)

    def derivative_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
        v1, v2, c, a = as_floats(v1, v2, c, slope)
        return ((1 + a) / 2) ** 2 + ((1 - a) / 2) ** 2 * (2 / math.pi * arcsine(_correlation(v1, v2, c)))

    return Activation(_closed_form(dual), _closed_form(derivative_dual))


relu = Activation(_closed_form(_relu_dual), _closed_form(lambda v1, v2, c: arc_cosine(0, _correlation(v1, v2, c))))


@jax.custom_jvp
def _squared_relu_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
    return v1 * v2 * arc_cosine(2, _correlation(v1, v2, c))


@_squared_relu_dual.defjvp
def _squared_relu_dual_jvp(primals, tangents):
    """d/dc = 4 s_1 s_2 J_1; d/dv_1 = v_2 (J_2 - 2 rho J_1) = v_2 (J_0 + rho q/(2 pi))."""
    v1, v2, _ = primals
    rho = _correlation(*primals)
    share = arc_cosine(0, rho) + rho * square_root((1 - rho) * (1 + rho)) / (2 * math.pi)
    return _squared_relu_dual(*primals), directional((v2 * share, v1 * share, 4 * _relu_dual(*primals)), tangents)


squared_relu = Activation(  # f(z) = relu(z)^2, of derivative 2 relu(z)
    _closed_form(_squared_relu_dual), _closed_form(lambda v1, v2, c: 4 * _relu_dual(v1, v2, c))
)


# ---------------------------------------------------------------------------------------------------- bounded functions


def _relative_determinant(v1: Floats, v2: Floats, c: Floats) -> Floats:
    """D/(a_1 a_2) of D = a_1 a_2 - 4 c^2, a_i = 1 + 2 v_i: without the cancellation of v_1 v_2 and c^2.

    D = a_1 + a_2 - 1 + 4 (g - |c|)(g + |c|), g = sqrt(v_1 v_2). Every factor is scaled before it can overflow. The scaling is
    by products, as XLA turns a quotient of quotients into a quotient by a product.
    """
    u1, u2, g, size = 1 / (1 + 2 * v1), 1 / (1 + 2 * v2), _geometric_mean(v1, v2), jnp.abs(c)
    scale = jnp.sqrt(u1) * jnp.sqrt(u2)
    return u1 + (1 - u1) * u2 + 4 * (scale * jnp.maximum(g - size, 0)) * (scale * (g + size))


@jax.custom_jvp
def _gaussian_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
    """D^(-1/2)."""
    return 1 / (jnp.sqrt(1 + 2 * v1) * jnp.sqrt(1 + 2 * v2) * jnp.sqrt(_relative_determinant(v1, v2, c)))


@_gaussian_dual.defjvp
def _gaussian_dual_jvp(primals, tangents):
    """dD/2 = a_2 dv_1 + a_1 dv_2 - 4 c dc, times -D^(-3/2) by factors that stay within the range of numbers."""
    v1, v2, c = primals
    r = _gaussian_dual(*primals)
    slopes = [_times_cube(factor, r) for factor in (-(1 + 2 * v2), -(1 + 2 * v1), 4 * c)]
    return r, directional(slopes, tangents)


def _times_cube(x: Floats, r: Floats) -> Floats:
    """x r^3, by products that stay in the range of numbers where r^3 does not."""
    return x * r * r * r


@jax.custom_jvp
def _erf_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
    """(2/pi) arcsin x, x = 2 c/sqrt(a_1 a_2), with (1 - |x|)/2 = (1 - x^2)/(2 (1 + |x|)) and 1 - x^2 = D/(a_1 a_2)."""
    x = 2 * c / jnp.sqrt(1 + 2 * v1) / jnp.sqrt(1 + 2 * v2)
    return 2 / math.pi * arcsine_by_complement(x, _relative_determinant(v1, v2, c) / (2 * (1 + jnp.abs(x))))


@_erf_dual.defjvp
def _erf_dual_jvp(primals, tangents):
    """d arcsin x = dx/sqrt(1 - x^2), sqrt(1 - x^2) = sqrt(D/(a_1 a_2)), dx/x = dc/c - dv_1/a_1 - dv_2/a_2."""
    v1, v2, c = primals
    by_c = 4 / math.pi * _gaussian_dual(*primals)
    slopes = -c / (1 + 2 * v1) * by_c, -c / (1 + 2 * v2) * by_c, by_c
    return _erf_dual(*primals), directional(slopes, tangents)


# E erf(A) erf(B) (Williams 1997), and its derivative in c
erf = Activation(_closed_form(_erf_dual), _closed_form(lambda v1, v2, c: 4 / math.pi * _gaussian_dual(v1, v2, c)))

# f(z) = exp(-z^2): the Gaussian integral, and its derivative in c
gaussian = Activation(
    _closed_form(_gaussian_dual), _closed_form(lambda v1, v2, c: _times_cube(4 * c, _gaussian_dual(v1, v2, c)))
)


# E exp(i(A - B)) = exp(c - m) and E exp(i(A + B)) = exp(-c - m), m = (v_1 + v_2)/2 >= |c|: cos cos is half their sum,
# sin sin half their difference.
def _wave_parts(v1: Floats, v2: Floats, c: Floats) -> tuple[Floats, Floats]:
    """exp(|c| - m)/2 and -2 |c|."""
    size = jnp.abs(c)
    return jnp.exp(((size - v1) + (size - v2)) / 2) / 2, -2 * size


@jax.custom_jvp
def _cosine_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
    half, exponent = _wave_parts(v1, v2, c)
    return half * (1 + jnp.exp(exponent))


@jax.custom_jvp
def _sine_dual(v1: Floats, v2: Floats, c: Floats) -> Floats:
    half, exponent = _wave_parts(v1, v2, c)
    return -jnp.sign(c) * half * jnp.expm1(exponent)


@_cosine_dual.defjvp
def _cosine_dual_jvp(primals, tangents):
    value, other = _cosine_dual(*primals), _sine_dual(*primals)
    return value, other * tangents[2] - value / 2 * (tangents[0] + tangents[1])


@_sine_dual.defjvp
def _sine_dual_jvp(primals, tangents):
    value, other = _sine_dual(*primals), _cosine_dual(*primals)
    return value, other * tangents[2] - value / 2 * (tangents[0] + tangents[1])


cosine = Activation(_closed_form(_cosine_dual), _closed_form(_sine_dual))
sine = Activation(cosine.derivative_dual, cosine.dual)
