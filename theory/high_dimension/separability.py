r"""How many labels a plane can separate, and the plane of largest margin: its margin, error and support vectors.

Formula. A plane through the origin separates $n = \alpha d$ labels with margin $\kappa$, which is the smallest
$y_i \langle w, x_i \rangle/\lvert w \rvert$, up to the capacity

$$
\frac{1}{\alpha_c(\kappa)} = \min_{T \ge 0} \; (1 + T^2)\, A(T), \qquad
A = \mathbb{E}\, 2 Z(\xi)\, (\kappa - \xi)_+^2, \quad B = \mathbb{E}\, 2 D(\xi)\, (\kappa - \xi)_+
$$

with $\xi \sim N(0, 1)$ the output of a unit student whose angle with the teacher has the cotangent $T$, and $Z$, $D$ of the
teacher (`label_channels`). At the minimum $T \sqrt{1 + T^2}\, A = \sqrt \rho\, B$. For random labels $T = 0$ (Gardner):

$$
\frac{1}{\alpha_c(\kappa)} = (1 + \kappa^2)\, \Phi(\kappa) + \kappa\, \phi(\kappa)
$$

At $\kappa = 0$ the capacity is the threshold of separability, above which the unpenalised logistic fit exists. Below the
threshold the largest margin at a ratio $\alpha$ is the $\kappa$ with $\alpha_c(\kappa) = \alpha$. Scaled until its smallest
margin $y_i \langle w, x_i \rangle/\sqrt d$ is 1, the plane has $q = 1/\kappa^2$ and
$m = \sqrt{\rho q}\, T/\sqrt{1 + T^2}$, and the share $\mathbb{E}\, 2 Z\, 1[\xi < \kappa]$ of the samples are support
vectors. For random labels of points in general position, at any size (Cover):

$$
P(\text{separable}) = 2^{1 - n} \sum_{k < d} \binom{n - 1}{k}
$$

Regime. $n, d \to \infty$ at a fixed ratio, inputs $N(0, I)$, planes through the origin. For $\kappa \ge 0$ these are theorems
(recalled). For $\kappa < 0$ the problem is not convex, and `random_capacity` is the replica-symmetric value. Only
`cover_probability` is exact at finite size.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\alpha$ | `ratio` | `()` | samples over dimensions, n/d |
| $\kappa$ | `margin` | `()` | smallest distance from the plane, for fields of variance 1 |
| $m$, $q$ | `HardMargin.overlap`, `.norm` | `()` | $\theta \cdot w/d$ and $\lvert w \rvert^2/d$ |

Factors. Inputs have covariance $I$, and so length $\sqrt d$: in units of features $x/\sqrt d$ the margin is
$\kappa/\sqrt d$.

Source. E. Gardner, J. Phys. A 21 (1988) 257, doi 10.1088/0305-4470/21/1/030; T. Cover, IEEE Trans. Electron. Comput. EC-14
(1965) 326, doi 10.1109/PGEC.1965.264137; E. Candes, P. Sur, arXiv 1804.09753 (abstract read). Recalled otherwise; the
condition for the minimum and the form in $T$ are derived here.

Finite size. The share of separable sets passes from 1 to 0 within about $d^{-1/2}$ of the threshold, relatively. At $d = 200$
the mean of $\kappa$ is off by up to 1 %, that of $q$ by $3.5/d$ at $\alpha = 3$ of a sign teacher.

Example. Two random labels a dimension, and twice the margin at fewer:

>>> from closedform.theory.high_dimension.label_channels import Labels
>>> from closedform.theory.high_dimension import separability
>>> float(separability.random_capacity(0.0))
2.0
>>> random = Labels(flips=0.5)
>>> [round(float(separability.hard_margin(ratio, random).margin), 4) for ratio in (0.5, 1.0)]
[1.0343, 0.4707]
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ArrayLike, above, at_least, takes
from ..numerics.normal import cdf, pdf
from . import label_channels
from ._fixed_point import fixed_point
from ._tails import inverse_pdf, tail
from .label_channels import LABELS, PROBIT, Labels, Link

Number = Real[ArrayLike, ""]


@documented
class HardMargin(NamedTuple):
    """The plane of largest margin. From the threshold on no plane separates: the margin is 0, m and q are infinite."""

    margin: Float[Array, ""]  # kappa
    overlap: Float[Array, ""]  # m, of the weights whose smallest margin is 1
    norm: Float[Array, ""]  # q = 1/kappa^2
    error: Float[Array, ""]  # P(sign z is not sign u) on a fresh input; 1/2 from the threshold on
    label_error: Float[Array, ""]  # P(sign z is not y) on a fresh sample; 1/2 from the threshold on
    support: Float[Array, ""]  # support vectors, over the number of samples; 1 from the threshold on


@takes(margin=FINITE)
def random_capacity(margin: Real[ArrayLike, "*margin"]) -> Float[Array, "*margin"]:
    """Gardner's capacity: the largest n/d at which random labels have this margin.

    >>> round(float(random_capacity(1.0)), 6)
    0.519572
    """
    below, above = jnp.where(margin < 0, -margin, 0), jnp.where(margin < 0, 0, margin)
    moment = (1 + above**2) * cdf(above) + above * pdf(above)
    return jnp.where(margin < 0, inverse_pdf(below) / tail(below, 2), 1 / moment)


@takes(margin=at_least(0, finite=True), teacher=LABELS)
def capacity(margin: Number, teacher: Labels, link: Link = PROBIT) -> Float[Array, ""]:
    """The largest n/d at which labels of a teacher have this margin; at margin 0 the threshold of separability.

    Infinite at margin 0 for a sign teacher without flips, whose labels are always separable. `link` is static.

    >>> round(float(capacity(0.0, Labels(flips=0.1))), 6)
    2.992286
    """
    cotangent = _most_aligned(margin, teacher, link)
    value = 1 / ((1 + cotangent**2) * _integrals(cotangent, margin, teacher, link)[0])
    return jnp.where(jnp.log(cotangent) < 0.99 * _FAR, value, jnp.inf)


@takes(ratio=above(0, finite=True), teacher=LABELS)
def hard_margin(ratio: Number, teacher: Labels, link: Link = PROBIT) -> HardMargin:
    """The plane of largest margin on n/d = ratio labels of a teacher. Differentiable; `link` is static.

    >>> found = hard_margin(1.0, Labels())
    >>> round(float(found.margin), 6), round(float(found.support), 6)
    (0.78655, 0.623723)
    """

    def update(x: Array) -> Array:
        """Of arsinh T and ln kappa: the first equation for T, and a Newton-like step towards (1 + T^2) A = 1/ratio."""
        cotangent, margin = jnp.sinh(x[0]), jnp.exp(x[1])
        square, slope, _, _ = _integrals(cotangent, margin, teacher, link)
        product = jnp.sqrt(teacher.norm_squared) * slope / jnp.maximum(square, jnp.finfo(square.dtype).tiny)
        aligned = product * jnp.sqrt(2 / (1 + jnp.sqrt(1 + 4 * product**2)))
        return jnp.stack([jnp.arcsinh(aligned), x[1] - jnp.log(ratio * (1 + cotangent**2) * square) / 2])

    one = jnp.ones_like(ratio)
    first = jnp.stack([jnp.arcsinh(1 + ratio / 2), -jnp.log(1 + ratio)])
    x, reached = fixed_point(update, first, jnp.stack([one / 10, -one - jnp.log(ratio)]))
    cotangent, margin = jnp.sinh(x[0]), jnp.exp(x[1])
    _, _, support, label_error = _integrals(cotangent, margin, teacher, link)
    cosine = cotangent / jnp.sqrt(1 + cotangent**2)
    values = HardMargin(
        margin,
        jnp.sqrt(teacher.norm_squared) * cosine / margin,
        1 / margin**2,
        jnp.arctan2(one, cotangent) / jnp.pi,
        label_error,
        support,
    )
    exists = reached & (ratio < capacity(jnp.zeros_like(ratio), teacher, link))
    nothing = HardMargin(0 * one, jnp.inf * one, jnp.inf * one, one / 2, one / 2, one)
    return jax.tree.map(lambda value, none: jnp.where(exists, value, none), values, nothing)


@takes(num_samples=at_least(1), dim=at_least(1))
def cover_probability(num_samples: int, dim: int) -> Float[Array, ""]:
    """The probability that a plane through the origin separates random labels of points in general position: exact.

    >>> float(cover_probability(100, 50)), float(cover_probability(50, 50))
    (0.5, 1.0)
    """
    separable = 2 * sum(math.comb(num_samples - 1, k) for k in range(min(dim, num_samples)))
    return jnp.asarray(separable / 2**num_samples, float)


# ---------------------------------------------------------------------------------------------------------- the equations

_FAR = 20.0  # logarithm of the largest cotangent that is looked at: an angle of 2e-9


def _integrals(cotangent: Array, margin: Array, teacher: Labels, link: Link) -> tuple[Array, Array, Array, Array]:
    """A, B, the share of support vectors and the error on labels."""
    view = label_channels.angle(cotangent, teacher)
    # the share of support vectors depends on where it is cut, and so do second derivatives of the rest
    edges = [margin, *jax.lax.stop_gradient(label_channels.step_edges(view, link))]
    xi, weights = label_channels.nodes(edges, margin)
    Z, D = label_channels.both_labels(xi, view, teacher, link)
    short = jnp.maximum(margin - xi, 0)
    return (
        jnp.sum(weights * Z * short**2),
        jnp.sum(weights * D * short),
        jnp.sum(jnp.where(short > 0, weights * Z, 0)),
        jnp.sum(jnp.where(xi < 0, weights * Z, 0)),
    )


def _most_aligned(margin: Array, teacher: Labels, link: Link) -> Array:
    """The cotangent at the minimum of a convex function: where its slope T sqrt(1 + T^2) A - sqrt(rho) B changes sign."""

    def slope(log: Array) -> Array:
        T = jnp.exp(log)
        square, linear, _, _ = _integrals(T, margin, teacher, link)
        return T * jnp.sqrt(1 + T**2) * square - jnp.sqrt(teacher.norm_squared) * linear

    def find(fn, start: Array) -> Array:
        def halve(_, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = (ends[0] + ends[1]) / 2
            rises = fn(middle) > 0
            return jnp.where(rises, ends[0], middle), jnp.where(rises, middle, ends[1])

        low, high = jax.lax.fori_loop(0, 60, halve, (start - _FAR, start + _FAR))
        return (low + high) / 2

    def tangent_solve(linear_fn, value: Array) -> Array:
        rate = linear_fn(jnp.ones_like(value))
        return value / jnp.where(rate == 0, jnp.inf, rate)

    return jnp.exp(jax.lax.custom_root(slope, jnp.zeros_like(margin), find, tangent_solve))
