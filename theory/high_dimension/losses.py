r"""Convex losses of a margin or of a residual, each with the slope of its Moreau envelope.

Formula. The proximal point of a convex loss $\ell$ at $\omega$ is

$$
p = \operatorname{argmin}_s \ell(s) + \frac{(s - \omega)^2}{2 V}, \qquad p + V \ell'(p) = \omega
$$

and the slope of the Moreau envelope, the minimum above as a function of $\omega$, is $\ell'(p) = (\omega - p)/V$. All equations
of high-dimensional learning need the loss through this slope only.

| loss | of | $\ell$ |
|---|---|---|
| `SQUARE` | margin $s = y z$ | $(1 - s)^2/2$ |
| `LOGISTIC` | margin | $\ln(1 + e^{-s})$ |
| `HINGE` | margin | $\max(1 - s, 0)$ |
| `SQUARED_HINGE` | margin | $\max(1 - s, 0)^2/2$ |
| `PROBIT` | margin | $-\ln \Phi(s)$ |
| `HARD` | margin | 0 for $s \ge 1$, infinite below: every margin is at least 1 |
| `SQUARED_RESIDUAL` | residual $r = y - z$ | $r^2/2$ |
| `ABSOLUTE` | residual | $\lvert r \rvert$ |
| `huber` | residual | $r^2/2$ up to $\delta$, $\delta \lvert r \rvert - \delta^2/2$ beyond |

Regime. Any convex loss; `margin_loss` and `residual_loss` make one of a function of yours.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\ell$ | `Loss.value` | | the loss at a margin or a residual |
| $\ell'(p)$ | `Loss.envelope_slope` | | slope of the Moreau envelope at $(\omega, V)$ |
| $p$ | `Loss.prox` | | proximal point |
| $V$ | `response` | any | width of the quadratic, $\ge 0$ |

Factors. The quadratic is $(s - \omega)^2/(2 V)$. scikit-learn's squared hinge has no $\frac{1}{2}$.

Source. J. Moreau, 1965 (recalled). The starting points from which Newton's method needs four steps are derived here.

Finite size. None. Logistic and probit points are within 1e-13 (relative to $1 + \lvert p \rvert$) for $V$ up to $10^7$. A loss
of yours is minimised by bisection, which kinks do not disturb, to rounding of its bracket.

Example. The proximal point of the hinge stays at its kink while $1 - V < \omega < 1$:

>>> import jax.numpy as jnp
>>> from closedform.theory.high_dimension import losses
>>> [round(float(losses.HINGE.prox(jnp.array(omega), jnp.array(0.5))), 3) for omega in (0.0, 0.7, 2.0)]
[0.5, 1.0, 2.0]
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import ArrayLike, above, known, takes
from ..numerics.normal import inverse_mills, inverse_mills_excess, log_cdf

Floats = Float[Array, "*shape"]
F = TypeVar("F", bound=Callable[..., Any])
Breaks = tuple[tuple[float | Array, float | Array], ...]


@documented
class Corner(NamedTuple):
    """Where the envelope's slope, a line of slope 1/V up to logarithms, turns to what the loss has far from its bend."""

    omega: Float[Array, ""]
    width: Float[Array, ""]  # of the turn, in omega
    side: int  # 1: the line lies below; -1: above
    reach: Float[Array, ""]  # half of the length of the line


@documented
class Loss(NamedTuple):
    """A convex loss: functions of float arrays, elementwise. Static: close over it, or mark it so, under jit."""

    value: Callable[[Floats], Floats]  # l
    envelope_slope: Callable[[Floats, Floats], Floats]  # l'(prox) at (omega, V)
    breaks: Breaks = ()  # (s, l'(s)) where integrals over omega are split, at omega = s + V l'(s); a kink has two
    of: Literal["margin", "residual"] = "margin"
    corners: Callable[[Array], tuple[Corner, ...]] = lambda V: ()  # of the envelope's slope at this V

    def prox(self, omega: Floats, response: Floats) -> Floats:
        """The minimiser of l(s) + (s - omega)^2/(2 V)."""
        return omega - response * self.envelope_slope(omega, response)

    def edges(self, centre: Array, deviation: Array, response: Array) -> list[Array]:
        """Where integrals over omega ~ N(centre, deviation^2) are split, in deviations from the centre.

        Second derivatives need those of the kinks, across which slopes jump. About a corner panels widen geometrically, up to
        9 deviations on the side of the line, or to half of it, and to 20 widths on the other: there the slope decays.
        """
        kinks, bends = [s + response * slope for s, slope in self.breaks], []
        for corner in self.corners(jax.lax.stop_gradient(response)):
            growth = jnp.maximum(jnp.minimum(9 * deviation, corner.reach) / corner.width, 1) ** (1 / 5)
            bends += [corner.omega - corner.side * corner.width * growth**k for k in range(6)]
            bends += [corner.omega + corner.side * corner.width * k for k in (1, 3, 8, 20)]
        kinks, bends = ([(place - centre) / deviation for place in places] for places in (kinks, bends))
        return kinks + jax.lax.stop_gradient(bends)


def margin_loss(value_fn: Callable[[Floats], Floats], kinks: tuple[float, ...] = ()) -> Loss:
    """The loss of a convex function of the margin y z, written in jax.numpy; `kinks` are the margins where its slope jumps.

    A smooth bend that is sharp against the spread of the margins may be named as a kink too: integrals are split there.

    >>> exponential = margin_loss(lambda s: jnp.exp(-s))
    >>> round(float(exponential.prox(jnp.array(0.0), jnp.array(1.0))), 6)  # s = exp(-s)
    0.567143
    """
    return _of_function(value_fn, kinks, "margin")


def residual_loss(value_fn: Callable[[Floats], Floats], kinks: tuple[float, ...] = ()) -> Loss:
    """The loss of a convex function of the residual y - z, written in jax.numpy; `kinks` are residuals where its slope jumps.

    >>> absolute = residual_loss(jnp.abs, kinks=(0.0,))
    >>> round(float(absolute.envelope_slope(jnp.array(0.3), jnp.array(0.5))), 6)
    0.6
    """
    return _of_function(value_fn, kinks, "residual")


def huber(delta: Real[ArrayLike, ""]) -> Loss:
    """r^2/2 for |r| <= delta, delta |r| - delta^2/2 beyond. `delta` may be traced.

    >>> float(huber(1.0).value(jnp.array(3.0)))
    2.5
    """
    number = _delta(delta)
    return _fixed_huber(float(number)) if known(number) else _huber(number)


@takes(delta=above(0, finite=True))
def _delta(delta: Real[ArrayLike, ""]) -> Float[Array, ""]:
    return delta


def _huber(delta: float | Array) -> Loss:
    def bend(r: Floats) -> Array:
        return jnp.asarray(delta, r.dtype)

    def value(r: Floats) -> Floats:
        inside = jnp.clip(r, -bend(r), bend(r))
        return inside * (r - inside / 2)

    def envelope_slope(r: Floats, V: Floats) -> Floats:
        return jnp.clip(r / (1 + V), -bend(r), bend(r))

    return Loss(value, envelope_slope, ((-delta, -delta), (delta, delta)), "residual")


_fixed_huber = functools.cache(_huber)  # one loss for one number: it is compiled once


def compiled(function: F) -> F:
    """Compiled once for a loss, where the loss has no traced numbers: else as it is, in the program that traces them."""
    static = [name for name in ("loss", "link") if name in inspect.signature(function).parameters]
    program = jax.jit(function, static_argnames=static, inline=True)

    @functools.wraps(function)
    def run(*args: Any, loss: Loss, **named: Any) -> Any:
        fixed = not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loss.breaks))
        return (program if fixed else function)(*args, loss=loss, **named)

    return run  # pyright: ignore[reportReturnType]


# ------------------------------------------------------------------------------------------------------ slopes of envelopes


@jax.custom_jvp
def _logistic_slope(omega: Floats, V: Floats) -> Floats:
    """-sigma(-p).

    With p = omega + V sigma(-p), the point of -(omega + V) is -p: it suffices to find p >= 0, where Newton's method on a
    concave function climbs to the root. e^-p bounds sigma(-p) there; by it the root is near omega + W(V e^-omega), of
    Lambert's W, of which two terms of the asymptotic series leave an error below 0.7. Four steps from there reach 1e-15.
    """
    mirrored = omega < -V / 2
    w = jnp.where(mirrored, -(omega + V), omega)
    exponent = jnp.log(jnp.maximum(V, jnp.finfo(V.dtype).tiny)) - w
    large = jnp.maximum(exponent, 1)
    small = jnp.exp(jnp.minimum(exponent, 1))
    lambert = jnp.where(exponent > 1, large - jnp.log(large) + jnp.log(large) / large, small / (1 + small))
    p = jnp.maximum(w + jnp.minimum(lambert, V * jax.nn.sigmoid(-w)), 0)

    def climb(_, p: Floats) -> Floats:
        rate = jax.nn.sigmoid(-p)
        return jnp.maximum(p - (p - w - V * rate) / (1 + V * rate * (1 - rate)), 0)

    p = jax.lax.fori_loop(0, 4, climb, p)
    return -jax.nn.sigmoid(jnp.where(mirrored, p, -p))


@_logistic_slope.defjvp
def _logistic_slope_jvp(primals, tangents):
    slope = _logistic_slope(*primals)
    return slope, _envelope_tangent(slope, -slope * (1 + slope), primals[1], tangents)


def _envelope_tangent(slope: Floats, curvature: Floats, V: Floats, tangents: tuple[Floats, Floats]) -> Floats:
    """l'' (domega - l' dV)/(1 + V l'') at the proximal point."""
    return curvature / (1 + V * curvature) * (tangents[0] - slope * tangents[1])


@jax.custom_jvp
def _probit_slope(omega: Floats, V: Floats) -> Floats:
    """-r(p), r = phi/Phi.

    r falls and is convex, so it lies above its tangents: the root of p = omega + V t(p) with a tangent t in place of r is at
    most p, and from the largest of these roots Newton's method climbs to p.
    """
    start = omega
    for knot, rate in zip(_KNOTS, _KNOT_RATES, strict=True):
        fall = rate * (knot + rate)  # -r'
        start = jnp.maximum(start, (omega + V * (rate + fall * knot)) / (1 + V * fall))

    def climb(_, p: Floats) -> Floats:
        rate = inverse_mills(p)
        return p - (p - omega - V * rate) / (1 + V * rate * inverse_mills_excess(p))

    return -inverse_mills(jax.lax.fori_loop(0, 4, climb, start))


@_probit_slope.defjvp
def _probit_slope_jvp(primals, tangents):
    omega, V = primals
    slope = _probit_slope(omega, V)
    return slope, _envelope_tangent(slope, -slope * inverse_mills_excess(omega - V * slope), V, tangents)


# where tangents of phi/Phi touch it: between 0 and 6 dense enough that four steps reach 1e-14 for V up to 1e8
_KNOTS = (-20.0, -8.0, -4.5, -3.0, -2.0, -1.25, -0.5, *(0.375 * k for k in range(17)))
_KNOT_RATES = tuple(math.exp(-(s**2) / 2) / math.sqrt(2 * math.pi) / (math.erfc(-s / math.sqrt(2)) / 2) for s in _KNOTS)


def _of_function(value_fn: Callable[[Floats], Floats], kinks: tuple[float, ...], of: Literal["margin", "residual"]) -> Loss:
    value_slope = jax.vmap(jax.grad(lambda s: value_fn(s).astype(s.dtype)))

    def slope_at(s: Floats) -> Floats:
        return value_slope(s.reshape(-1)).reshape(s.shape)

    def point(omega: Floats, V: Floats) -> Floats:
        """By bisection of s + V l'(s), which rises, between omega and omega - V l'(omega)."""
        other = omega - V * slope_at(omega)

        def halve(_, ends: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
            low, high = ends
            middle = (low + high) / 2
            below = middle + V * slope_at(middle) < omega
            return jnp.where(below, middle, low), jnp.where(below, high, middle)

        halvings = 64 if omega.dtype == jnp.float64 else 32
        low, high = jax.lax.fori_loop(0, halvings, halve, (jnp.minimum(omega, other), jnp.maximum(omega, other)))
        return (low + high) / 2

    @jax.custom_jvp
    def envelope_slope(omega: Floats, V: Floats) -> Floats:
        return (omega - point(omega, V)) / V

    @envelope_slope.defjvp
    def _(primals, tangents):
        omega, V = primals
        slope = envelope_slope(omega, V)
        p = omega - V * slope
        exact, curvature = jax.jvp(slope_at, (p,), (jnp.ones_like(p),))
        # at a kink the point stays and the slope of the loss is not that of the envelope: the curvature is infinite
        off = jnp.abs(exact - slope) > 1e3 * jnp.finfo(p.dtype).eps * (1 + jnp.abs(p) / V) * (1 + jnp.abs(curvature))
        ratio = jnp.where(off, 1 / V, curvature / (1 + V * curvature))
        return slope, ratio * (tangents[0] - slope * tangents[1])

    def corners(V: Array) -> tuple[Corner, ...]:
        """Where V l'' is 1 above 0 and below it, by bisection; as wide as l'' takes to fall to a third."""

        def falls(side: int, level: float) -> Array:
            def halve(_, ends: tuple[Array, Array]) -> tuple[Array, Array]:
                middle = (ends[0] + ends[1]) / 2
                _, bend = jax.jvp(slope_at, (side * middle,), (jnp.ones_like(V),))
                above = V * bend > level
                return jnp.where(above, middle, ends[0]), jnp.where(above, ends[1], middle)

            return jax.lax.fori_loop(0, 40, halve, (jnp.zeros_like(V), jnp.full_like(V, 1e3)))[1]

        ends = [(side, falls(side, 1.0), falls(side, 1 / 3)) for side in (1, -1)]
        omegas = [side * s + V * slope_at(side * s) for side, s, _ in ends]
        reach = (omegas[0] - omegas[1]) / 2
        widths = [jnp.clip(2 * (end - s), 1e-6, 1e3) for _, s, end in ends]
        return Corner(omegas[0], widths[0], 1, reach), Corner(omegas[1], widths[1], -1, reach)

    breaks = []
    for kink in kinks:
        step = 1e-6 * max(1.0, abs(kink))
        with jax.ensure_compile_time_eval():
            sides = np.asarray(slope_at(jnp.asarray(np.array([kink - step, kink + step]))))
        breaks += [(kink, float(side)) for side in sides]
    return Loss(value_fn, envelope_slope, tuple(breaks), of, corners)


# ---------------------------------------------------------------------------------------------------------- losses by name


def _logistic_corners(V: Array) -> tuple[Corner, ...]:
    """Where V l'' is about 1 for p > 0, and its mirror image; between them p is the logarithm of omega/(V + omega)."""
    right = jnp.log1p(V) - V / (2 + V)
    half = V / 2 + right
    return Corner(right, jnp.full_like(V, 2), 1, half), Corner(right - 2 * half, jnp.full_like(V, 2), -1, half)


def _probit_corners(V: Array) -> tuple[Corner, ...]:
    """Where V l'' is about 1. The bend at p = 0, as wide as V, needs no edges of its own."""
    p = jnp.sqrt(2 * jnp.log1p(V))
    return (Corner(p, 2 / (1 + p), 1, jnp.full_like(V, jnp.inf)),)


SQUARE = Loss(lambda s: (1 - s) ** 2 / 2, lambda omega, V: (omega - 1) / (1 + V))
LOGISTIC = Loss(lambda s: jax.nn.softplus(-s), _logistic_slope, corners=_logistic_corners)
HINGE = Loss(
    lambda s: jnp.maximum(1 - s, 0),
    lambda omega, V: -jnp.clip((1 - omega) / V, 0, 1),
    ((1.0, -1.0), (1.0, 0.0)),
)
SQUARED_HINGE = Loss(
    lambda s: jnp.maximum(1 - s, 0) ** 2 / 2, lambda omega, V: -jnp.maximum(1 - omega, 0) / (1 + V), ((1.0, 0.0),)
)
PROBIT = Loss(
    lambda s: -log_cdf(s),
    _probit_slope,
    corners=_probit_corners,
)
HARD = Loss(
    # a proximal point reaches the margin 1 up to rounding
    lambda s: jnp.where(s >= 1 - 1e-5, 0, jnp.inf).astype(s.dtype),
    lambda omega, V: -jnp.maximum(1 - omega, 0) / V,
    ((1.0, 0.0),),
)
SQUARED_RESIDUAL = Loss(lambda r: r**2 / 2, lambda r, V: r / (1 + V), of="residual")
ABSOLUTE = Loss(jnp.abs, lambda r, V: jnp.clip(r / V, -1, 1), ((0.0, -1.0), (0.0, 1.0)), "residual")
