r"""Learning labels with a convex loss and a ridge: overlap, norm, response, errors and training loss, exactly.

Formula. $w = \operatorname{argmin}_w \sum_i \ell(y_i z_i) + \frac{\lambda}{2} \lvert w \rvert^2$ with
$z_i = \langle w, x_i \rangle/\sqrt{d}$ on $n = \alpha d$ samples with labels of a teacher (`label_channels`). With
$\omega \sim N(0, q)$, the proximal point $p$ of the loss at $(\omega, V)$ (`losses`), $f = -\ell'(p)$, and $Z$, $D$ of
the teacher,

$$
\begin{align*}
\hat m &= 2 \alpha\, \mathbb{E} D f, \qquad \hat q = 2 \alpha\, \mathbb{E} Z f^2, \qquad
    \hat V = -2 \alpha\, \mathbb{E} Z \partial_\omega f = \frac{m}{q} \hat m - \frac{2 \alpha}{q} \mathbb{E} Z \omega f \\
V &= \frac{1}{\lambda + \hat V}, \qquad m = \rho\, \hat m V, \qquad q = (\rho\, \hat m^2 + \hat q) V^2
\end{align*}
$$

where $m = \langle \theta, w \rangle/d$, $q = \lvert w \rvert^2/d$ and $V = \operatorname{tr} H^{-1}/d$, with the Hessian $H$ of
the training energy. With $\kappa = m/\sqrt{\rho q - m^2} = \sqrt{\rho/\hat q}\, \hat m$ the error on clean labels is
$\operatorname{arccot}(\kappa)/\pi$. The training loss is $2 \mathbb{E} Z \ell(p)$: with the label $+$ taken by symmetry,
training margins $y_i z_i$ have the law of $p$, and margins of samples left out have the law of $\omega$.

Regime. $n$ and $d \to \infty$ at a fixed ratio $\alpha$, inputs $N(0, I)$ (universality: other independent entries do as well),
convex losses. The equations are theorems then (convex Gaussian min-max; recalled).

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\alpha$ | `ratio` | `()` | samples over dimensions, n/d |
| $\lambda$ | `ridge` | `()` | of a *sum* over samples, not divided by n |
| $m$, $q$, $V$ | `Solution.overlap`, `.norm`, `.response` | `()` | order parameters |
| $\hat m$, $\hat q$, $\hat V$ | `Solution.overlap_hat`, .. | `()` | conjugates, with the factor $\alpha$ |
| $\mathbb{E} \ell(p)$ | `Solution.training_loss` | `()` | mean loss of a training sample |

Factors. The ridge multiplies $\frac{1}{2} \lvert w \rvert^2$ and the loss is summed. In scikit-learn, with features
$x/\sqrt{d}$ and no intercept, C is $1/\lambda$ for LogisticRegression and for the hinge, $1/(2 \lambda)$ for its squared hinge.

Source. B. Aubin, F. Krzakala, Y. Lu, L. Zdeborova, arXiv 2006.06560 (abstract read); P. Sur, E. Candes, arXiv 1803.06964,
F. Salehi, E. Abbasi, B. Hassibi, arXiv 1906.03761 (recalled). Derived here: the form of $\hat V$ without a
derivative of $f$, which holds at kinks too, and the unknowns $(\operatorname{arsinh} \kappa, \ln q, \ln V)$.

Finite size. One data set scatters by $k/\sqrt{d}$ and the mean is off by $b/d$: for the logistic loss at
$(\alpha, \lambda) = (2, 0.1)$, $k = 0.5, 0.9, 0.13$ and $b = 0.1, -0.35, -0.11$ for $m$, $q$ and the error. At ridge 0 an
optimum exists only above the separability threshold; below it, and where no solution is found, all results are infinite, the
errors too. With a ridge one was found at each of 16,900 points but one: ratios from 0.01 to 1000, ridges from 1e-8 to 1e5, five
losses and five teachers with little or no noise.

Example. Logistic regression on two samples a dimension with the labels of a sign teacher:

>>> from closedform.theory.high_dimension import convex_learning, losses
>>> from closedform.theory.high_dimension.label_channels import Labels
>>> solution = convex_learning.solve(2.0, 0.1, losses.LOGISTIC, Labels())
>>> round(float(solution.error), 4), round(float(solution.overlap), 3), round(float(solution.norm), 3)
(0.1797, 1.72, 4.146)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import ArrayLike, above, at_least, each, takes
from . import label_channels
from ._fixed_point import fixed_point
from .label_channels import LABELS, PROBIT, Labels, Link, Order
from .losses import SQUARE, Loss, compiled

Number = Real[ArrayLike, ""]
POSITIVE, NOT_NEGATIVE = above(0, finite=True), at_least(0, finite=True)


@documented
class Solution(NamedTuple):
    """The optimum in the limit of high dimension."""

    overlap: Float[Array, ""]  # m = theta.w/d
    norm: Float[Array, ""]  # q = |w|^2/d, or the variance of the output where inputs have a covariance
    response: Float[Array, ""]  # V = tr H^-1/d
    overlap_hat: Float[Array, ""]  # of m, with the factor alpha
    norm_hat: Float[Array, ""]  # of q
    response_hat: Float[Array, ""]  # of V
    error: Float[Array, ""]  # P(sign z is not sign u) on a fresh input: against labels without noise
    label_error: Float[Array, ""]  # P(sign z is not y) on a fresh sample: against labels as they are drawn
    training_loss: Float[Array, ""]  # mean of l over the training samples
    weight_norm: Float[Array, ""]  # |w|^2/d
    energy: Float[Array, ""]  # alpha training_loss + ridge/2 |w|^2/d, the minimum of the training energy over d

    @property
    def order(self) -> Order:
        """Overlap, norm and response."""
        return Order(self.overlap, self.norm, self.response)


@documented
class Hats(NamedTuple):
    """Conjugates, with the factor alpha, and what else the same integrals give."""

    overlap: Float[Array, ""]  # of m
    norm: Float[Array, ""]  # of q
    response: Float[Array, ""]  # of V
    training_loss: Float[Array, ""]  # mean of l at the proximal points
    label_error: Float[Array, ""]  # P(sign z is not y)


@takes(ratio=POSITIVE, ridge=NOT_NEGATIVE, teacher=LABELS)
def solve(ratio: Number, ridge: Number, loss: Loss, teacher: Labels, link: Link = PROBIT) -> Solution:
    """The optimum at n/d = ratio. Differentiable to any order; vmap any number. `loss` and `link` are static.

    At ridge 0 it is the maximum-likelihood limit, which exists above the separability threshold.

    >>> from closedform.theory.high_dimension import losses
    >>> random = solve(2.0, 0.1, losses.LOGISTIC, Labels(flips=0.5))  # labels that are drawn without the input
    >>> float(random.overlap), float(random.error)
    (0.0, 0.5)
    """
    require_margin(loss)
    return _solve(ratio, ridge, teacher, loss=loss, link=link)


@compiled
def _solve(ratio: Array, ridge: Array, teacher: Labels, *, loss: Loss, link: Link) -> Solution:
    def students(hats: Hats) -> tuple[Array, Order, Array]:
        return _isotropic(hats, ridge, teacher.norm_squared)

    return solve_with(students, ratio, ridge, loss, teacher, link)


@takes(order=each(Order, None, NOT_NEGATIVE, POSITIVE), ratio=POSITIVE, ridge=NOT_NEGATIVE, teacher=LABELS)
def step(order: Order, ratio: Number, ridge: Number, loss: Loss, teacher: Labels, link: Link = PROBIT) -> Order:
    """One step of the undamped map: what one iteration of approximate message passing makes of the order parameters.

    From Order(0, 0, 1/ridge), t steps predict iteration t of message passing for this loss from w = 0; the fixed point is
    `solve`. Raises ValueError for an overlap that no student of the norm has.

    >>> from closedform.theory.high_dimension import losses
    >>> first = step(Order(0.0, 0.0, 1.0), 2.0, 1.0, losses.SQUARE, Labels())
    >>> round(float(first.response), 6)  # 1/(ridge + ratio/(1 + V))
    0.5
    """
    require_margin(loss)
    label_channels.require_order(order, teacher.norm_squared)
    # from w = 0 on: at this norm f is constant to rounding
    norm = jnp.maximum(order.norm, jnp.finfo(ratio.dtype).eps ** 0.75)
    cotangent = label_channels.cotangent(order, teacher.norm_squared)
    hats = conjugates(cotangent, norm, order.response, ratio, loss, teacher, link)
    return _isotropic(hats, ridge, teacher.norm_squared)[1]


@takes(threshold=label_channels.FINITE, order=label_channels.ORDER, teacher=LABELS)
def training_margins(
    threshold: Real[ArrayLike, "*threshold"], order: Order, loss: Loss, teacher: Labels, link: Link = PROBIT
) -> Float[Array, "*threshold"]:
    """The fraction of training samples with a margin y z strictly below a threshold, at the order parameters of the optimum.

    A loss with kinks has atoms: at a kink the fraction jumps by the fraction of the samples that lie exactly there.

    >>> from closedform.theory.high_dimension import losses
    >>> order = Order(1.599295, 3.669608, 2.013003)  # of the hinge loss at ratio 2 and ridge 0.1
    >>> inside, up_to = training_margins([1.0, 1.001], order, losses.HINGE, Labels())
    >>> round(float(inside), 3), round(float(up_to - inside), 2)
    (0.044, 0.4)
    """
    require_margin(loss)
    label_channels.require_order(order, teacher.norm_squared)
    return _below(threshold, order, teacher, loss=loss, link=link)


@takes(threshold=label_channels.FINITE, order=label_channels.ORDER, teacher=LABELS)
def fresh_margins(
    threshold: Real[ArrayLike, "*threshold"], order: Order, teacher: Labels, link: Link = PROBIT
) -> Float[Array, "*threshold"]:
    """The fraction of fresh samples, or of samples left out, with a margin y z below a threshold. At 0: the label error.

    >>> order = Order(1.599295, 3.669608, 2.013003)
    >>> round(float(fresh_margins(0.0, order, Labels())), 4)
    0.1855
    """
    label_channels.require_order(order, teacher.norm_squared)
    still = order._replace(response=jnp.zeros_like(order.norm))  # a field that is not moved by its own sample
    return _below(threshold, still, teacher, loss=SQUARE, link=link)


@compiled
def _below(threshold: Array, order: Order, teacher: Labels, *, loss: Loss, link: Link) -> Array:
    """P(p < s): the mass of the outputs whose proximal point is below, with panels that end where it crosses s."""
    view = label_channels.angle(label_channels.cotangent(order, teacher.norm_squared), teacher)
    deviation = jnp.sqrt(order.norm)

    def below(s: Array) -> Array:
        slope = jax.grad(loss.value)(s)
        crossing = s + order.response * jnp.where(jnp.isfinite(slope), slope, 0)
        breaks = loss.edges(jnp.zeros_like(s), deviation, order.response)
        edges = [crossing / deviation, *breaks, *label_channels.step_edges(view, link)]
        xi, weights = label_channels.nodes(edges, deviation)
        omega, V = deviation * xi, jnp.full_like(xi, order.response)
        moved = V * loss.envelope_slope(omega, V)
        # a point at a kink is there up to rounding
        rounding = 8 * jnp.finfo(s.dtype).eps * (jnp.abs(s) + jnp.abs(omega) + jnp.abs(moved))
        twice, _ = label_channels.both_labels(xi, view, teacher, link)
        return jnp.sum(jnp.where(omega - moved < s - rounding, weights * twice, 0))

    return jax.vmap(below)(threshold.ravel()).reshape(threshold.shape)


# ------------------------------------------------------------------------------------------------- for other students

Students = Callable[[Hats], tuple[Array, Order, Array]]  # cotangent, order parameters, |w|^2/d


def require_margin(loss: Loss) -> None:
    """Raises ValueError for what is no loss of a margin."""
    if not isinstance(loss, Loss) or loss.of != "margin":
        raise ValueError(f"loss must be a Loss of a margin (losses.LOGISTIC, margin_loss(..)), got {_named(loss)}")


def _named(loss: object) -> str:
    return f"a loss of a {loss.of}" if isinstance(loss, Loss) else f"{loss!r}"[:60]


def conjugates(cotangent: Array, norm: Array, response: Array, ratio: Array, loss: Loss, teacher: Labels, link: Link) -> Hats:
    """The integrals over a student's output, for any students."""
    view, deviation = label_channels.angle(cotangent, teacher), jnp.sqrt(norm)
    breaks = loss.edges(jnp.zeros_like(norm), deviation, response)
    # where an integral is split has no effect on it
    edges = [*breaks, *jax.lax.stop_gradient(label_channels.step_edges(view, link))]
    xi, weights = label_channels.nodes(edges, norm)
    omega, V = deviation * xi, jnp.full_like(xi, response)
    slope = loss.envelope_slope(omega, V)
    Z, D = label_channels.both_labels(xi, view, teacher, link)
    overlap = ratio * jnp.sum(weights * D * -slope)
    stein = (view.slope * overlap + ratio * jnp.sum(weights * Z * xi * slope)) / deviation
    return Hats(
        overlap,
        ratio * jnp.sum(weights * Z * slope**2),
        mean_bend(stein, ratio * weights * Z, loss, omega, V),
        jnp.sum(weights * Z * loss.value(omega - V * slope)),
        jnp.sum(jnp.where(xi < 0, weights * Z, 0)),
    )


def mean_bend(stein: Array, weights: Array, loss: Loss, omega: Array, response: Array) -> Array:
    """The mean bend of the envelope: its value from the bend itself, its derivatives from Stein's identity.

    Where the norm vanishes the identity is a difference of large numbers; derivatives of the bend miss how kinks move.
    """
    at, V, fixed = jax.lax.stop_gradient((omega, response, weights))
    _, bend = jax.jvp(lambda omega: loss.envelope_slope(omega, V), (at,), (jnp.ones_like(at),))
    return stein + jax.lax.stop_gradient(jnp.sum(fixed * bend) - stein)


def solve_with(students: Students, ratio: Array, ridge: Array, loss: Loss, teacher: Labels, link: Link) -> Solution:
    """The fixed point of `conjugates` and of what these make of the students."""
    tiny = jnp.finfo(ratio.dtype).tiny

    def conjugates_at(x: Array) -> Hats:
        return conjugates(jnp.sinh(x[0]), jnp.exp(x[1]), jnp.exp(x[2]), ratio, loss, teacher, link)

    def update(x: Array) -> Array:
        cotangent, order, _ = students(conjugates_at(x))
        logs = jnp.log(jnp.maximum(jnp.stack([order.norm, order.response]), tiny))
        return jnp.concatenate([jnp.arcsinh(cotangent)[None], logs])

    # Labels with noise: a response of the order of 1/ratio. Without noise and at a small ridge: near the largest margin, where
    # the error falls as 1/(2 ratio) and the norm grows as ratio^2, times the square of the margin that the loss asks for. In
    # between, with many samples: the minimum of E l(z y) + ridge/(2 ratio) q, where E l falls as 1/sqrt q.
    one, squares, eps = jnp.ones_like(ratio), 1 + ratio**2, jnp.finfo(ratio.dtype).eps
    V, length = 1 / ((ridge + eps) * squares), (ratio / (ridge + eps)) ** (1 / 3)
    margin = jnp.maximum(loss.prox(0 * one, V), eps)
    noisy = jnp.stack([one, 0 * one, -jnp.log(ridge + ratio / 4)])
    separable = jnp.stack([jnp.arcsinh(2 * ratio / jnp.pi), jnp.log(squares * margin**2), jnp.log(V)])
    many = jnp.stack([jnp.arcsinh(ratio / 2), 2 * jnp.log(length), jnp.log(2 * length / ratio)])
    x, reached = fixed_point(update, noisy, separable, many)
    hats = conjugates_at(x)
    cotangent, order, weight_norm = students(hats)
    values = Solution(
        *order, hats.overlap, hats.norm, hats.response,
        jnp.arctan2(jnp.ones_like(cotangent), cotangent) / jnp.pi, hats.label_error, hats.training_loss, weight_norm,
        ratio * hats.training_loss + ridge / 2 * weight_norm,
    )  # fmt: skip
    return jax.tree.map(lambda value: jnp.where(reached, value, jnp.inf), values)


def _isotropic(hats: Hats, ridge: Array, norm_squared: Array) -> tuple[Array, Order, Array]:
    tiny = jnp.finfo(ridge.dtype).tiny
    V = 1 / jnp.maximum(ridge + hats.response, tiny)
    cotangent = hats.overlap * jnp.sqrt(norm_squared / jnp.maximum(hats.norm, tiny))
    norm = (norm_squared * hats.overlap**2 + hats.norm) * V**2
    return cotangent, Order(norm_squared * hats.overlap * V, norm, V), norm
