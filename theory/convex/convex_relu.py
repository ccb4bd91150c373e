r"""Two-layer ReLU networks as a convex program: the dual norm that certifies a global optimum, and closed forms.

Formula. For $n$ examples in the rows of $X$, targets $y$ and weight decay $\beta$ the network and its convex program agree,

$$
\begin{align*}
p^* &= \min_{u, \alpha}\; \frac{1}{2} \left|\sum_j \operatorname{relu}(X u_j) \alpha_j - y\right|^2
    + \frac{\beta}{2} \sum_j \left(|u_j|^2 + \alpha_j^2\right) \\
&= \min_{v_i, w_i \in K_i}\; \frac{1}{2} \left|\sum_i D_i X (v_i - w_i) - y\right|^2
    + \beta \sum_i \left(|v_i| + |w_i|\right) \\
&= \max_{\nu}\; \nu \cdot y - \frac{|\nu|^2}{2}
    \quad \text{subject to} \quad N(\nu) = \max_{|u| \le 1} |\nu \cdot \operatorname{relu}(X u)| \le \beta
\end{align*}
$$

over the $P$ activation patterns $D_i = \operatorname{diag} \mathbf{1}[X u \ge 0]$ with their cones
$K_i = \{u \,:\, G_i u \ge 0\}$, $G_i = (2 D_i - 1) X$; `activation_patterns` counts them.

The zero network is optimal from $\beta_{\max} = N(y)$ on. With the residual $r = y - \hat{y}$,

$$
\begin{align*}
N(\nu) &= \max_{i,\; s = \pm 1} \left|\operatorname{Proj}_{K_i}(s X^\top D_i \nu)\right| \\
\text{gap}(c) &= \text{objective} - \left(c\, r \cdot y - \frac{c^2 |r|^2}{2}\right),
    \qquad c = \min\left(1, \frac{\beta}{N(r)}\right)
\end{align*}
$$

If $X X^\top = 1$, then $p^* = h(|y_+|) + h(|y_-|)$, and $h(|y|)$ without the cones, where $h(z) = z^2/2$ up to $\beta$,
beyond it $\beta z - \beta^2/2$. The worst margin in $|\delta|_\infty \le \varepsilon$ is $y f - \varepsilon |\nabla f|_1$ where
no activation changes.

Regime. Exact for every $n$, $d$ and width of at least the number of nonzero $v_i$, $w_i$ of an optimum ($n + 1$ suffices).
$N$ and the gap certify globally only if `patterns` are all $P$ of them.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $X$, $y$ | `x`, `y` | `sample dim`, .. | data in rows; targets (labels $\pm 1$ for margins) |
| $D_i$ (diagonals) | `patterns` | `sample pattern` | 1 where $x_k \cdot u \ge 0$, else 0 |
| $\operatorname{Proj}_{K_i}$ | `cone_projection` (its file) | `dim` | Euclidean projection onto the cone |
| $\nu$, $N(\nu)$ | `nu`, `dual_norm` | `sample`, `()` | dual variable; its norm, dual to that of the program |
| $\beta$, $\beta_{\max}$ | `weight_decay`, `weight_decay_max` | `()` | weight decay; the least one with a zero optimum |
| $y_+$, $y_-$, $h$ | | `sample` | $\max(y, 0)$, $\max(-y, 0)$; Huber function of width $\beta$ |
| $\varepsilon$ | `radius` | `()` | $\ell_\infty$ radius of the attack on each input |

Factors. Loss $\frac{1}{2} |\hat{y} - y|^2$, a sum over examples, not a mean; penalty $\frac{\beta}{2} (|u|^2 + \alpha^2)$ on
the network, which is $\beta |v|$ on $v = u \alpha$ at the balance $|u| = |\alpha|$. The hinge is a mean over examples. No bias.

Source. Y. Bai, T. Gautam, S. Sojoudi, arXiv 2201.01965, and M. Pilanci, T. Ergen, arXiv 2002.10553. Read: abstracts and a
report that restates the program, which gives the program and $n + 1$; the first author's public code for the 1/2 and the
sum. Recalled, not re-read: the hinge. Derived here: the dual, $N$, the gap, $\beta_{\max}$, the closed forms and the worst
margin. The body of the paper was not read: no equation or table number of it is known to us, and no number in this file is the
paper's.

Finite size. None in the formulas; sizes only cost. A subset of the patterns makes $N$ a lower bound, and the gap may then be
too small: 200,000 random directions found 90 of the 92 patterns of $n = 10$, $d = 3$.

Example. The gap of the zero network, here exactly how far it is above the optimum, vanishes at $\beta_{\max}$:

>>> import jax.numpy as jnp
>>> from closedform.theory.convex import convex_relu
>>> x, y = jnp.eye(2), jnp.array([3.0, 4.0])
>>> patterns = jnp.array([[1, 1, 0, 0], [1, 0, 1, 0]])
>>> norm = convex_relu.dual_norm(y, x, patterns)  # weight_decay_max
>>> [float(convex_relu.duality_gap(y @ y / 2, y, y, weight_decay, norm)) for weight_decay in (5.0, 4.0)]
[0.0, 0.5]
>>> float(y @ y / 2 - convex_relu.whitened_optimum(y, 4.0))
0.5
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ArrayLike, at_least, one_of, require_not_empty, takes
from ..numerics.norms import length, nonzero, power_of_two
from .cone_projection import no_face, project

Number = Real[ArrayLike, ""]
Samples = Real[ArrayLike, "sample"]
Points = Real[ArrayLike, "sample dim"]
Patterns = Real[ArrayLike, "sample pattern"]  # 0/1 or bool

_BINARY, _LABELS = one_of(0, 1), one_of(-1, 1)


@documented
class DualMaximum(NamedTuple):
    """The unit of ReLU that a dual variable nu responds to most: value = sign nu.relu(x direction)."""

    value: Float[Array, ""]  # N(nu)
    direction: Float[Array, "dim"]  # u, |u| = 1 (0 if the value is 0)
    sign: Float[Array, ""]  # +1 or -1, the sign of the output weight


# --------------------------------------------------------------------------------------------------- the certificate


@takes(nu=FINITE, x=FINITE, patterns=_BINARY)
def dual_norm(nu: Samples, x: Points, patterns: Patterns) -> Float[Array, ""]:
    """N(nu) = max_{|u| <= 1} |nu.relu(x u)| over the cones of the `patterns` (0/1 or bool). Differentiable in nu and x.

    At nu = 0, where the norm has a kink, the derivative is 0.

    >>> x = jnp.eye(2)
    >>> patterns = jnp.array([[1, 1, 0, 0], [1, 0, 1, 0]])
    >>> float(dual_norm(jnp.array([3.0, -4.0]), x, patterns)), float(dual_norm(jnp.array([3.0, 4.0]), x, patterns))
    (4.0, 5.0)
    """
    return dual_direction(nu, x, patterns).value


@takes(nu=FINITE, x=FINITE, patterns=_BINARY)
def dual_direction(nu: Samples, x: Points, patterns: Patterns) -> DualMaximum:
    """The maximising direction and sign of N(nu): the neuron whose addition lowers the loss fastest.

    N(nu) = max_{i,s} |Proj_{K_i}(s x' D_i nu)|. Direction and sign carry no derivative; the value has, by the envelope
    theorem, that of the Lagrangian s nu.(D_i x u) + lambda.(G_i u): the multipliers count where u lies on an edge of K_i,
    as it moves with x there.

    Of maxima that tie to rounding it is any one, but no edge beside a maximum inside a cone. `patterns` must be patterns of x:
    any other has the cone {0}, or an edge, and its point is 0 up to rounding, with a direction of no meaning.
    """
    require_not_empty(x=x, patterns=patterns)
    return _dual_direction(nu, x, patterns)


@jax.jit
def _dual_direction(
    nu: Float[Array, "sample"], x: Float[Array, "sample dim"], patterns: Float[Array, "sample pattern"]
) -> DualMaximum:
    active = patterns.T
    signs = 2 * active - 1
    size = power_of_two(nu)  # N(s nu) = s N(nu), and s x has the direction of x: nothing is squared out of range
    reduced, rows = jax.lax.stop_gradient((nu / size, x / power_of_two(x)))
    q = (active * reduced[None]) @ rows
    over_patterns = jax.vmap(project, (0, None, 0, None))
    pieces = jax.vmap(over_patterns, (0, None, None, None))(jnp.stack([q, -q]), rows, signs, no_face(rows))
    squares = jnp.sum(pieces.point**2, axis=-1)
    # Within rounding of the largest: a maximum inside its cone ties with the point of the next cone on the edge that is near.
    tied = squares >= (1 - 8 * float(jnp.finfo(x.dtype).eps)) * jnp.max(squares)
    held = pieces.multipliers @ length(rows)
    best = jnp.argmin(jnp.where(tied, held, jnp.inf))
    which, i = jnp.divmod(best, len(active))
    point, multipliers = pieces.point[which, i], size * pieces.multipliers[which, i]
    direction, sign = point / nonzero(length(point)), (1 - 2 * which).astype(x.dtype)
    slopes = sign * nu * active[i] + multipliers * signs[i]
    return DualMaximum(slopes @ (x @ direction), direction, sign)


@takes(x=FINITE, y=FINITE, patterns=_BINARY)
def weight_decay_max(x: Points, y: Samples, patterns: Patterns) -> Float[Array, ""]:
    """N(y), the least weight decay at which the zero network is optimal: nu = y is then feasible in the dual."""
    return dual_norm(y, x, patterns)


@takes(nu=FINITE, y=FINITE)
def dual_value(nu: Samples, y: Samples) -> Float[Array, ""]:
    """nu.y - |nu|^2/2, a lower bound of p* if N(nu) <= weight_decay; equal to p* at nu = y - yhat of an optimum."""
    return nu @ y - nu @ nu / 2


@takes(objective=FINITE, residual=FINITE, y=FINITE, weight_decay=at_least(0), norm=at_least(0, finite=True))
def duality_gap(objective: Number, residual: Samples, y: Samples, weight_decay: Number, norm: Number) -> Float[Array, ""]:
    """How far, at most, a network of this objective and residual r = y - yhat is above p*, given norm = N(r).

    The residual scaled by c = min(1, weight_decay/N(r)) is feasible in the dual. Without that scaling nothing is bounded.
    """
    c = jnp.where(norm > weight_decay, jnp.minimum(weight_decay, norm) / nonzero(norm), 1)
    return objective - dual_value(c * residual, y)


# ------------------------------------------------------------------------------------- closed forms for whitened data


@takes(y=FINITE, weight_decay=at_least(0))
def whitened_optimum(y: Samples, weight_decay: Number) -> Float[Array, ""]:
    """p* = h(|y_+|) + h(|y_-|) if x x' = 1: one neuron fits the positive targets, one the negative ones.

    >>> y = jnp.array([1.2, -0.7, 0.4, -1.1, 0.9])
    >>> [round(float(whitened_optimum(y, weight_decay)), 5) for weight_decay in (0.2, 1.0, 1.4)]
    [0.53125, 1.85626, 2.04338]
    """
    return _huber(length(jax.nn.relu(y)), weight_decay) + _huber(length(jax.nn.relu(-y)), weight_decay)


@takes(y=FINITE, weight_decay=at_least(0))
def whitened_gated_optimum(y: Samples, weight_decay: Number) -> Float[Array, ""]:
    """h(|y|), the optimum of the gated ReLU relaxation (all patterns, no cones) if x x' = 1; at most `whitened_optimum`.

    >>> round(float(whitened_gated_optimum(jnp.array([1.2, -0.7, 0.4, -1.1, 0.9]), 0.2)), 5)
    0.38546
    """
    return _huber(length(y), weight_decay)


@takes(y=FINITE, weight_decay=at_least(0))
def whitened_prediction(y: Samples, weight_decay: Number) -> Float[Array, "sample"]:
    """The optimal outputs if x x' = 1: yhat = y_+ (1 - weight_decay/|y_+|)_+ - y_- (1 - weight_decay/|y_-|)_+."""
    return y * jnp.where(y >= 0, _shrinkage(jax.nn.relu(y), weight_decay), _shrinkage(jax.nn.relu(-y), weight_decay))


# --------------------------------------------------------------------------------------------- adversarial training


@takes(outputs=FINITE, slopes=FINITE, y=_LABELS, radius=at_least(0, finite=True))
def worst_margin(outputs: Samples, slopes: Points, y: Samples, radius: Number) -> Float[Array, "sample"]:
    """min over |delta|_inf <= radius of y f(x + delta) = y f - radius |grad f|_1, with `slopes` the gradients of f in x.

    For a network none of whose activations changes in the balls; labels y = +-1. At a slope of 0, a kink, the derivative
    of its modulus is 0.

    >>> worst_margin(jnp.array([2.0, 2.0]), jnp.array([[1.0, -3.0], [0.0, 1.0]]), jnp.array([1.0, -1.0]), 0.25).tolist()
    [1.0, -2.25]
    """
    return y * outputs - radius * jnp.sum(jnp.abs(slopes), axis=1)


@takes(outputs=FINITE, slopes=FINITE, y=_LABELS, radius=at_least(0, finite=True))
def robust_worst_case(outputs: Samples, slopes: Points, y: Samples, radius: Number) -> Float[Array, ""]:
    """The mean worst-case hinge (1 - worst margin)_+, without the penalty."""
    require_not_empty(outputs=outputs)
    return jnp.mean(jax.nn.relu(1 - worst_margin(outputs, slopes, y, radius)))


def _huber(z: Float[Array, ""], weight_decay: Float[Array, ""]) -> Float[Array, ""]:
    slope = jnp.minimum(z, weight_decay)
    return jnp.where(z <= weight_decay, z**2 / 2, slope * z - slope**2 / 2)


def _shrinkage(x: Float[Array, "sample"], weight_decay: Float[Array, ""]) -> Float[Array, ""]:
    """(1 - weight_decay/|x|)_+; at x = 0 that of small x."""
    size = length(x)
    small = jnp.where((size > 0) | (weight_decay > 0), 0, 1)
    return jnp.where(size > weight_decay, 1 - jnp.minimum(weight_decay, size) / nonzero(size), small)
