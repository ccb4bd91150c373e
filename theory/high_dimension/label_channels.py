r"""Teachers of labels and of numbers, and integrals over what a student's output says of them.

Formula. The teacher's field is $u = \langle \theta, x \rangle/\sqrt{d}$ with $\lvert \theta \rvert^2/d = \rho$. A label is
$y = \operatorname{sign}(u + \tau \xi)$, or with the link `LOGIT` the sign of $u + \tau \xi$ plus logistic noise; afterwards it
is flipped with probability $\eta$. Given the student's field $\omega \sim N(0, q)$ of overlap $m$ with the teacher, $u$ is
normal of mean $m \omega/q$ and variance $\rho - m^2/q$, and

$$
Z(\omega) = P(y = + | \omega) = \eta + (1 - 2 \eta) P_\tau, \qquad D(\omega) = \frac{q}{m} Z'(\omega)
$$

where $P_\tau = \Phi\left(\frac{m \omega/q}{\sqrt{\tau^2 + \rho - m^2/q}}\right)$ for `PROBIT`. With the cotangent
$\kappa = m/\sqrt{\rho q - m^2}$ of the angle between teacher and student the variance is $\rho/(1 + \kappa^2)$, in which no
digits cancel however small the angle.

Regime. Exact for jointly normal $u$ and $\omega$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\rho$ | `Labels.norm_squared`, `Numbers.norm_squared` | `()` | $\lvert \theta \rvert^2/d$, the variance of $u$ |
| $\tau$ | `Labels.noise_std` | `()` | Gaussian noise before the sign; 0: a sign teacher |
| $\eta$ | `Labels.flips` | `()` | probability of a flip, at most 1/2 |
| $\Delta_k$, $p_k$ | `Numbers.noise_variances`, `.weights` | `component` | noise of numbers, a mixture of normals |
| $m$, $q$, $V$ | `Order.overlap`, `.norm`, `.response` | `()` | of a student: see `convex_learning` |
| $\omega$ | `field` | any | student's output |

Factors. Fields carry $1/\sqrt{d}$ and inputs have covariance $I$. Both labels are equally likely.

Source. B. Aubin, F. Krzakala, Y. Lu, L. Zdeborova, arXiv 2006.06560 (abstract read). The forms here are derived here.

Finite size. Integrals have 24 nodes a panel (12 in float32). Panels end at multiples of 3 deviations up to 9, around the step
of $Z$, at the kinks of the loss and, ever closer, around the corners of its envelope: relative errors are below 1e-11 in
float64, for logistic and probit losses at $V$ from 1e-4 to 1e6 and deviations from 0.01 to 1e4. The logit link averages over
$u$ by 72 equal steps: its errors are below 1e-12 for $\rho + \tau^2 \le 5$ and 1e-7 at 25.

Example. A student that points 45 degrees away from a sign teacher, at an output of one deviation, is right in $\Phi(1)$ of the
cases:

>>> from closedform.theory.high_dimension.label_channels import Labels, Order, positive_probability
>>> order = Order(overlap=0.5, norm=0.5, response=1.0)
>>> round(float(positive_probability(0.5**0.5, order, Labels())), 4)
0.8413
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics import quadrature
from ..numerics.arguments import FINITE, ArrayLike, above, at_least, between, each, require_together, takes
from ..numerics.normal import cdf, pdf
from ..numerics.roots import square_root

Floats = Float[Array, "*shape"]


@documented
class Labels(NamedTuple):
    """A teacher of labels +-1."""

    norm_squared: Real[ArrayLike, ""] = 1.0  # |theta|^2/d, rho
    noise_std: Real[ArrayLike, ""] = 0.0  # of Gaussian noise before the sign, tau
    flips: Real[ArrayLike, ""] = 0.0  # probability that a label is flipped, eta


@documented
class Numbers(NamedTuple):
    """A teacher of numbers y = u + noise; the noise is a mixture of normals."""

    norm_squared: Real[ArrayLike, ""]  # |theta|^2/d, rho
    noise_variances: Real[ArrayLike, "component"]  # Delta_k
    weights: Real[ArrayLike, "component"]  # p_k, of sum 1


@documented
class Order(NamedTuple):
    """Order parameters of a student w."""

    overlap: Real[ArrayLike, ""]  # m = theta.w/d
    norm: Real[ArrayLike, ""]  # q = |w|^2/d (with a covariance: the variance of the output)
    response: Real[ArrayLike, ""]  # V = tr H^-1/d of the Hessian H of the training energy


@documented
class Link(NamedTuple):
    """P(+) of a field that is normal, and its slope in the mean."""

    average: Callable[[Array, Array], tuple[Array, Array]]  # of means and one variance
    variance: float  # about that of the noise of the link


LABELS = each(Labels, above(0, finite=True), at_least(0, finite=True), between(0, 0.5))
NUMBERS = each(Numbers, above(0, finite=True), at_least(0, finite=True), at_least(0, finite=True))
ORDER = each(Order, FINITE, above(0, finite=True), above(0, finite=True))


def _probit(mean: Floats, variance: Float[Array, ""]) -> tuple[Floats, Floats]:
    deviation = jnp.sqrt(variance)
    return cdf(mean / deviation), pdf(mean / deviation) / deviation


def _logit(mean: Floats, variance: Float[Array, ""]) -> tuple[Floats, Floats]:
    """By the trapezoidal rule, whose error falls as e^(-2 pi^2/(step deviation)): the poles of sigma lie at +-i pi."""
    nodes, step = _TRAPEZOID
    points = jnp.asarray(nodes, mean.dtype)
    weights = step * pdf(points)
    rates = jax.nn.sigmoid(mean[..., None] + (jnp.sqrt(variance) * points).reshape((1,) * mean.ndim + (-1,)))
    return rates @ weights, (rates * (1 - rates)) @ weights


_TRAPEZOID = ([(k - 35.5) * 0.25 for k in range(72)], 0.25)  # to 8.9 deviations, beyond which there is 1e-18

PROBIT = Link(_probit, 0.0)
LOGIT = Link(_logit, math.pi**2 / 3)


@takes(field=FINITE, order=ORDER, teacher=LABELS)
def positive_probability(
    field: Real[ArrayLike, "*field"], order: Order, teacher: Labels, link: Link = PROBIT
) -> Float[Array, "*field"]:
    """Z: the probability of the label +1 (flips included) on inputs where the student's output has this value.

    The student's own probability, sigma(field) for logistic regression, is calibrated where the two agree. Raises ValueError
    for an overlap with overlap^2 above norm_squared * norm.

    >>> float(positive_probability(0.0, Order(0.5, 0.5, 1.0), Labels(1.0, 0.0, 0.1)))
    0.5
    """
    require_order(order, teacher.norm_squared)
    rest = jnp.maximum(teacher.norm_squared - order.overlap**2 / order.norm, 0)
    variance = jnp.maximum(rest + teacher.noise_std**2, jnp.finfo(rest.dtype).tiny)
    average, _ = link.average(order.overlap / order.norm * field, variance)
    return teacher.flips + (1 - 2 * teacher.flips) * average


def require_order(order: Order, norm_squared: Array) -> None:
    """Raises ValueError for an overlap that no student of this norm has; rounding is let through."""
    require_together(
        "at most sqrt(norm_squared * norm) in size",
        lambda m, bound: abs(m) <= bound * (1 + 1e-5),
        **{"order.overlap": order.overlap, "bound": jnp.sqrt(norm_squared * order.norm)},
    )


# ------------------------------------------------------------------------------------------------------ for the equations

REACH = 9.0  # deviations up to which integrals over a standard normal variable are taken: 2e-19 lies beyond
_EDGES = (-9.0, -6.0, -3.0, 0.0, 3.0, 6.0, 9.0)
_WIDTHS = (-8.0, -3.0, -1.0, 1.0, 3.0, 8.0)  # edges about a step of width 1


def nodes(edges: Sequence[Array], like: Array) -> tuple[Float[Array, "node"], Float[Array, "node"]]:
    """Nodes and weights for the standard normal law, exact to rounding for what is smooth between the edges."""
    fixed = jnp.asarray(_EDGES, like.dtype)
    ends = jnp.sort(jnp.concatenate([fixed, jnp.clip(jnp.stack(list(edges)), -REACH, REACH)])) if edges else fixed
    t, w = (jnp.asarray(part, like.dtype) for part in quadrature.legendre(24 if like.dtype == jnp.float64 else 12))
    width = ends[1:] - ends[:-1]
    points = (ends[:-1, None] + width[:, None] * (1 + t[None]) / 2).reshape(-1)
    return points, (width[:, None] * w[None]).reshape(-1) * pdf(points)


@documented
class Angle(NamedTuple):
    """The law of the teacher's field given the student's output."""

    slope: Float[Array, ""]  # m/sqrt q: its mean at an output of one deviation
    variance: Float[Array, ""]  # tau^2 + rho - m^2/q: its variance, with that of the noise


def angle(cotangent: Array, teacher: Labels) -> Angle:
    """From the cotangent of the angle between teacher and student, without a difference however small the angle."""
    rest = 1 + cotangent**2
    return Angle(cotangent * jnp.sqrt(teacher.norm_squared / rest), teacher.noise_std**2 + teacher.norm_squared / rest)


def step_edges(view: Angle, link: Link) -> list[Array]:
    """Where Z rises, in deviations of the output."""
    width = jnp.sqrt(view.variance + link.variance)
    slope = jnp.maximum(view.slope, width / 1e6)  # without overlap there is no step
    return [k * width / slope for k in _WIDTHS]


def both_labels(xi: Floats, view: Angle, teacher: Labels, link: Link) -> tuple[Floats, Floats]:
    """2 Z and 2 D at outputs of xi deviations: y = +1 and y = -1 contribute the same."""
    average, slope = link.average(view.slope * xi, view.variance)
    keep = 1 - 2 * teacher.flips
    return 2 * teacher.flips + 2 * keep * average, 2 * keep * slope


def cotangent(order: Order, norm_squared: Array) -> Array:
    """kappa = m/sqrt(rho q - m^2); 0 for a student that is 0."""
    rest = norm_squared * order.norm - order.overlap**2
    return order.overlap / jnp.maximum(square_root(rest), jnp.finfo(rest.dtype).tiny ** 0.5)
