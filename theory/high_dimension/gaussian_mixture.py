r"""Telling two Gaussian clusters apart by a convex loss with a ridge: overlap, norm, intercept and error, exactly.

Formula. Inputs $x = y v/\sqrt d + \sqrt \Delta\, \xi$ with $\lvert v \rvert^2 = d$ and $P(y = 1) = p$ have outputs
$z = \langle w, x \rangle/\sqrt d + b$, and $w, b$ minimise $\sum_i \ell(y_i z_i) + \frac{\lambda}{2} \lvert w \rvert^2$
over $n = \alpha d$ samples. A margin of a sample that is left out is $\omega = m + y b + \sqrt{\Delta q}\, \xi$. With
$f = -\ell'(\operatorname{prox})$ at $(\omega, \Delta V)$ (`losses`),

$$
\begin{align*}
\hat m &= \alpha\, \mathbb{E} f, \qquad \hat q = \alpha \Delta\, \mathbb{E} f^2, \qquad
    \hat V = -\alpha \Delta\, \mathbb{E} \partial_\omega f = -\alpha \sqrt{\Delta/q}\; \mathbb{E} \xi f \\
V &= \frac{1}{\lambda + \hat V}, \qquad m = \hat m V, \qquad q = (\hat m^2 + \hat q) V^2, \qquad \mathbb{E}\, y f = 0
\end{align*}
$$

the last with an intercept, which has no penalty; $b = 0$ without. The error on a fresh sample is

$$
p\, \Phi\left(-\frac{m + b}{\sqrt{\Delta q}}\right) + (1 - p)\, \Phi\left(-\frac{m - b}{\sqrt{\Delta q}}\right)
$$

For $p = 1/2$ no classifier that sees the samples alone has an error below $\Phi(-\sqrt{\alpha/(\Delta (\alpha + \Delta))})$,
which an infinite ridge reaches. A plane through the origin separates the samples up to the ratio

$$
\frac{1}{\alpha_c} = \min_{t \ge 0} \; \mathbb{E} \left(\sqrt{1 + t^2}\, \xi - \frac{t}{\sqrt \Delta}\right)_+^2
$$

Regime. $n, d \to \infty$ at a fixed ratio, convex losses of a margin.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\alpha$ | `ratio` | `()` | samples over dimensions, n/d |
| $\lambda$ | `ridge` | `()` | of a sum over samples, not divided by n |
| $\Delta$, $p$ | `noise_variance`, `positive_share` | `()` | variance of a coordinate; probability of the label 1 |
| $m$, $q$ | `Solution.overlap`, `.norm` | `()` | $v \cdot w/d$, $\lvert w \rvert^2/d$ |
| $V$, $b$ | `Solution.response`, `.intercept` | `()` | $\operatorname{tr} H^{-1}/d$ of the Hessian, intercept |

Factors. The centres are at distance 1 from the origin. The width of the quadratic in the proximal point is $\Delta V$, and not
$V$; at $\Delta = 1$ nobody sees the difference.

Source. F. Mignacco, F. Krzakala, Y. Lu, L. Zdeborova, arXiv 2002.11544 (abstract and setting read). The equations are derived
here again, and the form of the threshold is derived here.

Finite size. Errors at $d = 800$ agree within a standard error of 16 data sets, 0.3 %.

Example. Two clusters of unit variance, where the best error is 0.2071:

>>> from closedform.theory.high_dimension import gaussian_mixture, losses
>>> solution = gaussian_mixture.solve(2.0, 0.1, losses.LOGISTIC, noise_variance=1.0)
>>> round(float(solution.error), 4), round(float(gaussian_mixture.bayes_error(2.0, 1.0)), 4)
(0.2322, 0.2071)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import erfc
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import ArrayLike, above, at_least, between, takes
from ..numerics.normal import cdf
from . import label_channels
from ._fixed_point import fixed_point
from ._tails import inverse_pdf, tail
from .convex_learning import require_margin
from .losses import Loss

Number = Real[ArrayLike, ""]
Numbers = Real[ArrayLike, "*#shape"]
POSITIVE = above(0, finite=True)
INSIDE = between(0, 1, low_open=True, high_open=True)


@documented
class Solution(NamedTuple):
    """The optimum in the limit of high dimension; infinite, the error too, where none exists or none was found."""

    overlap: Float[Array, ""]  # m = v.w/d
    norm: Float[Array, ""]  # q = |w|^2/d
    response: Float[Array, ""]  # V = tr H^-1/d, at a fixed intercept
    intercept: Float[Array, ""]  # b
    error: Float[Array, ""]  # on a fresh sample
    training_loss: Float[Array, ""]  # mean of l over the training samples
    energy: Float[Array, ""]  # ratio * training_loss + ridge/2 |w|^2/d, the minimum of the training energy over d


@takes(ratio=POSITIVE, ridge=at_least(0, finite=True), noise_variance=POSITIVE, positive_share=INSIDE)
def solve(
    ratio: Number,
    ridge: Number,
    loss: Loss,
    noise_variance: Number = 1.0,
    positive_share: Number = 0.5,
    intercept: bool = False,
) -> Solution:
    """The optimum at n/d = ratio, with or without an intercept. Differentiable; `loss` and `intercept` are static.

    A hinge with an intercept has no solution here where its optimum is w = 0 and an intercept of +-1, the label of the larger
    class for every input: for 3 of 10 positive and a noise variance of 10, from about 18 samples a dimension on.

    >>> from closedform.theory.high_dimension import losses
    >>> solution = solve(2.0, 1.0, losses.LOGISTIC, 1.0, 0.2, intercept=True)
    >>> round(float(solution.intercept), 5), round(float(solution.error), 5)
    (-1.30048, 0.19278)
    """
    require_margin(loss)
    tiny = jnp.finfo(ratio.dtype).tiny

    def update(x: Array) -> Array:
        order, (mean, square, along, unequal, _) = _moments(x, loss, noise_variance, positive_share, intercept)
        overlap_hat, norm_hat = ratio * mean, ratio * noise_variance * square
        response_hat = -ratio * jnp.sqrt(noise_variance) * jnp.exp(-x[1] / 2) * along
        V = 1 / jnp.maximum(ridge + response_hat, tiny)
        # a larger m lowers E f at the rate of E f': without this term close clusters of small variance overshoot
        rate = response_hat / noise_variance
        overlap = V * (overlap_hat + rate * order[0]) / (1 + V * rate)
        rest = jnp.maximum(norm_hat, tiny) * V**2  # q - m^2
        new = [jnp.arcsinh(overlap / jnp.sqrt(rest)), jnp.log(overlap**2 + rest), jnp.log(V)]
        if intercept:  # E y f falls with b as E f', which is 0 where a hinge has no sample at its kink: at most 1 a step
            pull, floor = ratio * noise_variance * unequal, jnp.finfo(ratio.dtype).eps ** 0.5 * ratio * noise_variance
            new.append(x[3] + pull / (jnp.maximum(response_hat, 0) + jnp.abs(pull) + floor))
        return jnp.stack(new)

    one, nought = jnp.ones_like(ratio), jnp.zeros_like(ratio)
    aligned = jnp.arcsinh(jnp.sqrt(ratio / (1 + noise_variance)))  # about what the best classifier reaches
    # two with a response of the order of 1/ratio; one of a flat loss, as a strong ridge sees it; one near the largest margin
    least, small = ridge + jnp.finfo(ratio.dtype).eps, -2 * jnp.log1p(ridge)
    far = jnp.log(4 + ratio * noise_variance)
    guesses = [
        (one, small, -jnp.log(ridge + ratio / 4), nought),
        (aligned, small, -jnp.log(ridge + ratio * noise_variance), nought),
        (one, small, -jnp.log(least), nought),
        (one, far, -far / 2 - jnp.log(least), nought),
    ]
    if intercept:  # near w = 0 the intercept alone answers, with the label of the larger class
        larger = jnp.sign(positive_share - 0.5)
        guesses += [(one, small, -jnp.log(least), larger), (aligned, small, -jnp.log(ridge + ratio / 4), larger)]
    starts = [jnp.stack(guess if intercept else guess[:3]) for guess in guesses]
    x, reached = fixed_point(update, *starts)
    order, (_, _, _, _, training_loss) = _moments(x, loss, noise_variance, positive_share, intercept)
    m, q, V, b = order
    deviation = jnp.sqrt(noise_variance * q)
    error = positive_share * cdf(-(m + b) / deviation) + (1 - positive_share) * cdf(-(m - b) / deviation)
    values = Solution(m, q, V, b, error, training_loss, ratio * training_loss + ridge / 2 * q)
    return jax.tree.map(lambda value: jnp.where(reached, value, jnp.inf), values)


@takes(ratio=at_least(0, finite=True), noise_variance=POSITIVE)
def bayes_error(ratio: Numbers, noise_variance: Numbers) -> Float[Array, "*shape"]:
    """The least error of any classifier, of clusters with equal probabilities; 1/2 without samples.

    >>> round(float(bayes_error(2.0, 1.0)), 6)
    0.207108
    """
    overlap = jnp.sqrt(ratio / (ratio + noise_variance))
    return erfc(overlap / jnp.sqrt(2 * noise_variance)) / 2  # with its digits where it is small


@takes(noise_variance=POSITIVE)
def separable_ratio(noise_variance: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """The n/d up to which a plane through the origin separates the clusters' samples, whatever their probabilities.

    >>> [round(float(ratio), 4) for ratio in separable_ratio([0.5, 1.0])]
    [6.6628, 3.7]
    """
    width = jnp.sqrt(noise_variance)

    def slope(log: Array) -> Array:
        """Of the convex function of t, over 2 phi: where it changes sign there is the minimum."""
        t = jnp.exp(log)
        reach = width * jnp.sqrt(1 + t**2)
        return t * tail(t / reach, 2) - tail(t / reach, 1) / reach

    def find(fn, start: Array) -> Array:
        def halve(_, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = (ends[0] + ends[1]) / 2
            rises = fn(middle) > 0
            return jnp.where(rises, ends[0], middle), jnp.where(rises, middle, ends[1])

        low, high = jax.lax.fori_loop(0, 64, halve, (start - 40, start + 40))
        return (low + high) / 2

    def tangent_solve(linear_fn, value: Array) -> Array:
        return value / linear_fn(jnp.ones_like(value))

    t = jnp.exp(jax.lax.custom_root(slope, jnp.zeros_like(width), find, tangent_solve))
    h = t / (width * jnp.sqrt(1 + t**2))
    return inverse_pdf(h) / ((1 + t**2) * tail(h, 2))


def _moments(
    x: Array, loss: Loss, noise_variance: Array, positive_share: Array, intercept: bool
) -> tuple[tuple[Array, Array, Array, Array], tuple[Array, ...]]:
    """m, q, V, b at (arsinh m/sqrt(q - m^2), ln q, ln V, b), and the means of f, f^2, xi f, y f and l."""
    q, V = jnp.exp(x[1]), jnp.exp(x[2])
    m, b = jnp.sqrt(q) * jnp.tanh(x[0]), x[3] if intercept else jnp.zeros_like(q)
    deviation, width = jnp.sqrt(noise_variance * q), noise_variance * V
    total = [jnp.zeros_like(q)] * 5
    for label, share in ((1, positive_share), (-1, 1 - positive_share)) if intercept else ((1, jnp.ones_like(q)),):
        centre = m + label * b
        xi, weights = label_channels.nodes(loss.edges(centre, deviation, width), q)
        omega = centre + deviation * xi
        f = -loss.envelope_slope(omega, jnp.full_like(omega, width))
        value = loss.value(omega + width * f)
        parts = (f, f**2, xi * f, label * f, value)
        total = [sum_ + share * jnp.sum(weights * part) for sum_, part in zip(total, parts, strict=True)]
    return (m, q, V, b), tuple(total)
