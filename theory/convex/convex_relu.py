r"""Two-layer ReLU networks as a convex program: counts, the dual norm that certifies a global optimum, closed forms.

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
$K_i = \{u \,:\, G_i u \ge 0\}$, $G_i = (2 D_i - 1) X$. Their number is

$$
P = 2 \sum_{k < r} \binom{n - 1}{k} \le 2 r \left(\frac{e (n - 1)}{r}\right)^r
$$

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

Regime. Exact for every $n$, $d$ and width of at least the number of nonzero $v_i$, $w_i$ of an optimum ($n + 1$ suffices). The
count takes rows in general position; $N$ and the gap certify globally only if `patterns` are all $P$ of them.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $n$, $r$ | `num_samples`, `rank` | `()`, int | examples; rank of $X$ (generic $X$: $\min(n, d)$) |
| $X$, $y$ | `x`, `y` | `sample dim`, .. | data in rows; targets (labels $\pm 1$ for margins) |
| $D_i$ (diagonals) | `patterns` | `sample pattern` | 1 where $x_k \cdot u \ge 0$, else 0 |
| $G_i$ | `rows` | `sample dim` | the cone $\{u \,:\, G_i u \ge 0\}$ |
| $\operatorname{Proj}_{K_i}$ | `cone_projection` | `dim` | Euclidean projection onto it |
| $\nu$, $N(\nu)$ | `nu`, `dual_norm` | `sample`, `()` | dual variable; its norm, dual to that of the program |
| $\beta$, $\beta_{\max}$ | `beta`, `beta_max` | `()` | weight decay; the least one with a zero optimum |
| $y_+$, $y_-$, $h$ | | `sample` | $\max(y, 0)$, $\max(-y, 0)$; Huber function of width $\beta$ |
| $P_s$, $\psi$, $\xi$ | `scenario_bound` | `()` | sampled patterns; failure and violation probability |
| $\varepsilon$ | `eps` | `()` | $\ell_\infty$ radius of the attack on each input |

Factors. Loss $\frac{1}{2} |\hat{y} - y|^2$, a sum over examples, not a mean; penalty $\frac{\beta}{2} (|u|^2 + \alpha^2)$ on
the network, which is $\beta |v|$ on $v = u \alpha$ at the balance $|u| = |\alpha|$. The hinge is a mean over examples. No bias.

Source. Y. Bai, T. Gautam, S. Sojoudi, arXiv 2201.01965, and M. Pilanci, T. Ergen, arXiv 2002.10553. Read: abstracts and a
report that restates the program [S], which gives the program, the bound on $P$ and $n + 1$; the first author's public code [C]
for the 1/2 and the sum. Recalled, not re-read [Q]: the hinge, and the scenario bound ($\psi$ and $\xi$ may be swapped in the
paper). Derived here [D]: the count, the dual, $N$, the gap, $\beta_{\max}$, the closed forms and the worst margin. The body of
the paper was not read: no equation or table number of it is known to us, and no number in this file is the paper's.

Finite size. None in the formulas; sizes only cost. A subset of the patterns makes $N$ a lower bound, and the gap may then
be too small: 200,000 random directions found 90 of the 92 patterns of $n = 10$, $d = 3$. Projections are exact to rounding
(in float64 1e-12 of $|q|$ or better, $10^{-16}/w$ in a cone of width $w$); each pivot costs
$O(\text{sample dim} + \text{dim}^3)$.

Example. The gap of the zero network, here exactly how far it is above the optimum, vanishes at $\beta_{\max}$:

>>> import jax.numpy as jnp
>>> from closedform.theory.convex import convex_relu
>>> x, y = jnp.eye(2), jnp.array([3.0, 4.0])
>>> patterns = jnp.array([[1, 1, 0, 0], [1, 0, 1, 0]])
>>> norm = convex_relu.dual_norm(y, x, patterns)  # beta_max
>>> [float(convex_relu.duality_gap(y @ y / 2, y, y, beta, norm)) for beta in (5.0, 4.0)]
[0.0, 0.5]
>>> float(y @ y / 2 - convex_relu.whitened_optimum(y, 4.0))
0.5
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Real

from ..numerics.arguments import FINITE, ArrayLike, at_least, between, one_of, require, takes

Number = Real[ArrayLike, ""]
Samples = Real[ArrayLike, "sample"]
Points = Real[ArrayLike, "sample dim"]
Patterns = Real[ArrayLike, "sample pattern"]  # 0/1 or bool

_BINARY, _LABELS = one_of(0, 1), one_of(-1, 1)


class DualMaximum(NamedTuple):
    """The unit of ReLU that a dual variable nu responds to most: value = sign nu.relu(x direction)."""

    value: Float[Array, ""]  # N(nu)
    direction: Float[Array, "dim"]  # u, |u| = 1 (0 if the value is 0)
    sign: Float[Array, ""]  # +1 or -1, the sign of the output weight


# ----------------------------------------------------------------------------------------------- how many patterns


@takes(num_samples=at_least(1), rank=at_least(1))
def pattern_count(num_samples: Number, rank: int) -> Float[Array, ""]:
    """P = 2 sum_{k<r} C(n-1, k), the activation patterns of n inputs in general position in `rank` dimensions.

    Cover's count of the sign patterns of a linear function; 2^n for rank >= n. Exact below 1/eps of the dtype, infinite
    beyond its range. Between whole n it is the polynomial, whose derivative it has.

    >>> [int(pattern_count(n, rank)) for n, rank in ((6, 2), (8, 2), (8, 3), (10, 3), (9, 4), (5, 9))]
    [12, 16, 58, 92, 186, 32]
    """
    return _pattern_count(num_samples, rank)


@partial(jax.jit, static_argnames="rank")
def _pattern_count(n: Float[Array, ""], rank: int) -> Float[Array, ""]:
    def add(k: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        binomial, total = sums
        size = k.astype(n.dtype)
        # C(n-1, k) from C(n-1, k-1). Two roundings are off by less than 1/2 below 1/(2 eps), where whole numbers are exact.
        term = binomial * ((n - size) / size)
        whole = (n == jnp.round(n)) & jnp.isfinite(term)
        term = term + jax.lax.stop_gradient(jnp.where(whole, jnp.round(term) - term, 0))
        term = jnp.where(jnp.isinf(binomial), binomial, term)  # not inf 0 at k = n
        return term, total + term

    one = jnp.ones_like(n)
    return 2 * jax.lax.fori_loop(1, rank, add, (one, one))[1]


@takes(num_samples=at_least(2), rank=at_least(1))
def pattern_bound(num_samples: Number, rank: int) -> Float[Array, ""]:
    """The bound 2 r (e(n-1)/r)^r on the number of patterns, for 1 <= r <= n and n >= 2.

    >>> round(float(pattern_bound(10, 3)), 1)
    3253.9
    """
    require(at_least(rank), num_samples=num_samples)
    return 2 * rank * (math.e * (num_samples - 1) / rank) ** rank


@takes(num_samples=at_least(1), psi=between(0, 1, low_open=True), xi=between(0, 1, low_open=True))
def scenario_bound(num_samples: Number, psi: Number, xi: Number) -> Float[Array, ""]:
    """Sampled patterns P_s that suffice: min{(n+1)/(psi xi) - 1, (2/xi)(n + 1 - log psi)}. Recalled, not re-read.

    With probability >= 1 - psi one more random pattern then lowers the optimum with probability <= xi: the scenario
    bound for n + 1 dual variables.

    >>> round(float(scenario_bound(10, 0.1, 0.1)), 3)
    266.052
    """
    n, failure, violation = num_samples, psi, xi
    # below psi = 0.2 the second is the smaller: (n+1)/0.2 - 1 >= 2 (n+1) + 2 log 5 for all n >= 1, and 1/psi grows faster
    first = jnp.where(failure > 0.2, (n + 1) / jnp.maximum(failure, 0.2) - violation, jnp.inf)
    return jnp.minimum(first, 2 * (n + 1 - jnp.log(failure))) / violation


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
    """
    _not_empty(x=x, patterns=patterns)
    return _dual_direction(nu, x, patterns)


@jax.jit
def _dual_direction(
    nu: Float[Array, "sample"], x: Float[Array, "sample dim"], patterns: Float[Array, "sample pattern"]
) -> DualMaximum:
    active = patterns.T
    signs = 2 * active - 1
    size = _power_of_two(nu)  # N(s nu) = s N(nu), and s x has the direction of x: nothing is squared out of range
    reduced, rows = jax.lax.stop_gradient((nu / size, x / _power_of_two(x)))
    q = (active * reduced[None]) @ rows
    over_patterns = jax.vmap(_project, (0, None, 0, None))
    pieces = jax.vmap(over_patterns, (0, None, None, None))(jnp.stack([q, -q]), rows, signs, _no_face(rows))
    best = jnp.argmax(jnp.sum(pieces.point**2, axis=-1))
    which, i = jnp.divmod(best, len(active))
    point, multipliers = pieces.point[which, i], size * pieces.multipliers[which, i]
    direction, sign = point / _nonzero(_norm(point)), (1 - 2 * which).astype(x.dtype)
    slopes = sign * nu * active[i] + multipliers * signs[i]
    return DualMaximum(slopes @ (x @ direction), direction, sign)


@takes(x=FINITE, y=FINITE, patterns=_BINARY)
def beta_max(x: Points, y: Samples, patterns: Patterns) -> Float[Array, ""]:
    """N(y), the least weight decay at which the zero network is optimal: nu = y is then feasible in the dual."""
    return dual_norm(y, x, patterns)


@takes(nu=FINITE, y=FINITE)
def dual_value(nu: Samples, y: Samples) -> Float[Array, ""]:
    """nu.y - |nu|^2/2, a lower bound of p* if N(nu) <= beta; equal to p* at nu = y - yhat of an optimum."""
    return nu @ y - nu @ nu / 2


@takes(objective=FINITE, residual=FINITE, y=FINITE, beta=at_least(0), norm=at_least(0, finite=True))
def duality_gap(objective: Number, residual: Samples, y: Samples, beta: Number, norm: Number) -> Float[Array, ""]:
    """How far, at most, a network of this objective and residual r = y - yhat is above p*, given norm = N(r).

    The residual scaled by c = min(1, beta/N(r)) is feasible in the dual. The scaling by c = 1 alone would bound nothing.
    """
    c = jnp.where(norm > beta, jnp.minimum(beta, norm) / _nonzero(norm), 1)
    return objective - dual_value(c * residual, y)


# ------------------------------------------------------------------------------------- closed forms for whitened data


@takes(y=FINITE, beta=at_least(0))
def whitened_optimum(y: Samples, beta: Number) -> Float[Array, ""]:
    """p* = h(|y_+|) + h(|y_-|) if x x' = 1: one neuron fits the positive targets, one the negative ones.

    >>> y = jnp.array([1.2, -0.7, 0.4, -1.1, 0.9])
    >>> [round(float(whitened_optimum(y, beta)), 5) for beta in (0.2, 1.0, 1.4)]
    [0.53125, 1.85626, 2.04338]
    """
    return _huber(_norm(jax.nn.relu(y)), beta) + _huber(_norm(jax.nn.relu(-y)), beta)


@takes(y=FINITE, beta=at_least(0))
def whitened_gated_optimum(y: Samples, beta: Number) -> Float[Array, ""]:
    """h(|y|), the optimum of the gated ReLU relaxation (all patterns, no cones) if x x' = 1; at most `whitened_optimum`.

    >>> round(float(whitened_gated_optimum(jnp.array([1.2, -0.7, 0.4, -1.1, 0.9]), 0.2)), 5)
    0.38546
    """
    return _huber(_norm(y), beta)


@takes(y=FINITE, beta=at_least(0))
def whitened_prediction(y: Samples, beta: Number) -> Float[Array, "sample"]:
    """The optimal outputs if x x' = 1: yhat = y_+ (1 - beta/|y_+|)_+ - y_- (1 - beta/|y_-|)_+."""
    return y * jnp.where(y >= 0, _shrinkage(jax.nn.relu(y), beta), _shrinkage(jax.nn.relu(-y), beta))


# --------------------------------------------------------------------------------------------- adversarial training


@takes(outputs=FINITE, slopes=FINITE, y=_LABELS, eps=at_least(0, finite=True))
def worst_margin(outputs: Samples, slopes: Points, y: Samples, eps: Number) -> Float[Array, "sample"]:
    """min over |delta|_inf <= eps of y f(x + delta) = y f - eps |grad f|_1, with `slopes` the gradients of f in x.

    For a network none of whose activations changes in the balls; labels y = +-1. At a slope of 0, a kink, the derivative
    of its modulus is 0.

    >>> worst_margin(jnp.array([2.0, 2.0]), jnp.array([[1.0, -3.0], [0.0, 1.0]]), jnp.array([1.0, -1.0]), 0.25).tolist()
    [1.0, -2.25]
    """
    return y * outputs - eps * jnp.sum(jnp.abs(slopes), axis=1)


@takes(outputs=FINITE, slopes=FINITE, y=_LABELS, eps=at_least(0, finite=True))
def robust_worst_case(outputs: Samples, slopes: Points, y: Samples, eps: Number) -> Float[Array, ""]:
    """The mean worst-case hinge (1 - worst margin)_+, without the penalty."""
    _not_empty(outputs=outputs)
    return jnp.mean(jax.nn.relu(1 - worst_margin(outputs, slopes, y, eps)))


# ------------------------------------------------------------------------------------------------- cone projection


class Projection(NamedTuple):
    """The nearest point of a cone to q: point = q + rows' multipliers, with multipliers >= 0 and 0 where rows.point > 0."""

    point: Float[Array, "dim"]
    multipliers: Float[Array, "sample"]  # of signs * rows
    face: Int[Array, "slot"]  # the at most dim rows that hold the point, then num_samples


@takes(q=FINITE, rows=FINITE, signs=one_of(-1, 0, 1))
def cone_projection(
    q: Real[ArrayLike, "dim"],
    rows: Points,
    signs: Samples | None = None,
    start: Int[ArrayLike, "dim"] | None = None,
) -> Projection:
    """The point of the cone {u: signs * (rows u) >= 0} nearest to q; without `signs`, of {u: rows u >= 0}.

    Lawson and Hanson's active-set method on the dual, min over lambda >= 0 of |q + rows' lambda|. With `signs` (+-1, or 0
    to leave a row out) many cones share one x under vmap with axes (0, None, 0). `start`, the face of a nearby q in the same
    cone, saves pivots. Differentiable in q and rows while the face stays. Ends in any case after 3 (sample + dim) pivots.

    >>> cone_projection(jnp.array([1.0, -2.0]), jnp.array([[0.0, 1.0], [1.0, 1.0]])).point.tolist()
    [1.0, 0.0]
    """
    _not_empty(q=q)
    if not len(rows):  # the whole space
        return Projection(q, jnp.zeros(0, q.dtype), jnp.zeros(len(q), int))
    face = _no_face(rows) if start is None else jnp.asarray(start, int)
    size = _power_of_two(q)
    point, multipliers, face = _project(q / size, rows, signs, face)
    return Projection(size * point, size * multipliers, face)


def _no_face(rows: Float[Array, "sample dim"]) -> Int[Array, "dim"]:
    return jnp.full(rows.shape[1], len(rows))


@jax.jit
def _project(
    q: Float[Array, "dim"],
    rows: Float[Array, "sample dim"],
    signs: Float[Array, "sample"] | None,
    start: Int[Array, "slot"],
) -> Projection:
    """The same at a q of the size of one."""
    lengths = _norm(jax.lax.stop_gradient(rows))
    factors = (jnp.ones_like(lengths) if signs is None else signs) / _nonzero(lengths)
    fixed = jax.lax.stop_gradient((q, rows / _nonzero(lengths)[:, None], signs))
    face, guess = _find_face(*fixed, start)
    # A Newton step on the equations of the face, point = q + B' lambda and B point = 0: it changes the solution by
    # rounding only, and carries its derivative in q and B.
    factor = factors.at[face].get(mode="fill", fill_value=0)
    B = rows.at[face].get(mode="fill", fill_value=0) * factor[:, None]
    Q, R = _orthonormal(jax.lax.stop_gradient(B))
    pushed = q + guess @ B
    point = pushed - Q @ (pushed @ Q)
    point = point - Q @ _solve(R, B @ jax.lax.stop_gradient(point), transpose=True)
    point = jnp.where(jnp.all(face < len(rows)), 0, point)  # dim independent rows hold nothing but the tip
    slot_multipliers = guess + _solve(R, (point - pushed) @ Q)
    multipliers = jnp.zeros_like(lengths).at[face].set(slot_multipliers * jnp.abs(factor), mode="drop")
    return Projection(point, multipliers, face)


def _find_face(
    q: Float[Array, "dim"], rows: Float[Array, "sample dim"], signs: Float[Array, "sample"] | None, start: Int[Array, "slot"]
) -> tuple[Int[Array, "slot"], Float[Array, "slot"]]:
    """The face that the projection of q lies on, and its multipliers; `rows` of unit length or zero."""
    num_samples, dim = rows.shape
    slots = jnp.arange(dim)
    tolerance = 10 * dim * jnp.finfo(q.dtype).eps * _norm(q)

    def pivot(state: tuple) -> tuple:
        face, multipliers, pivots, _ = state
        B = rows.at[face].get(mode="fill", fill_value=0)
        if signs is not None:
            B = B * signs.at[face].get(mode="fill", fill_value=0)[:, None]
        # Project onto the whole face; twice, because what rounding leaves outside of it may look like a violation.
        Q, R = _orthonormal(B)
        part = q @ Q
        point = q - Q @ part
        point = point - Q @ (point @ Q)
        target = _solve(R, -part)
        inside = ~jnp.any(target < 0)
        # If a multiplier is negative, go there only as far as all stay >= 0: the first to reach 0 leaves.
        steps = jnp.where(target < 0, multipliers / _nonzero(multipliers - target), jnp.inf)
        leaving, last = jnp.argmin(steps), jnp.sum(face < num_samples) - 1
        shorter = jax.nn.relu(multipliers + jnp.where(inside, 1, steps[leaving]) * (target - multipliers))

        def without(values: Array, free: ArrayLike) -> Array:
            return jnp.where(slots == last, free, jnp.where(slots == leaving, values[last], values))

        # Otherwise the row that the point violates most enters. (jnp.argmin takes twice as long on a CPU.)
        heights = rows @ point if signs is None else signs * (rows @ point)
        lowest = jnp.min(heights)
        entering = jnp.max(jnp.where(heights == lowest, jnp.arange(num_samples), -1))
        done = inside & (~(lowest < -tolerance) | (last == dim - 1))
        entered = jnp.where((slots == last + 1) & ~done, entering, face)
        face = jnp.where(inside, entered, without(face, num_samples))
        return face, jnp.where(inside, target, without(shorter, 0)), pivots + 1, done

    def unfinished(state: tuple) -> Bool[Array, ""]:
        return ~state[3] & (state[2] < 3 * (num_samples + dim))

    face, multipliers, _, _ = jax.lax.while_loop(unfinished, pivot, (start, jnp.zeros_like(q), 0, False))
    return face, multipliers


def _orthonormal(B: Float[Array, "slot dim"]) -> tuple[Float[Array, "dim slot"], Float[Array, "slot slot"]]:
    """B' = Q R for the rows of B before the zero ones; where those stand Q is 0 and the diagonal of R is 1."""
    Q, R = jnp.linalg.qr(B.T)
    free = jnp.all(B == 0, axis=1)
    return jnp.where(free[None], 0, Q), R + jnp.diag(free.astype(B.dtype))


def _solve(R: Float[Array, "slot slot"], values: Float[Array, "slot"], transpose: bool = False) -> Float[Array, "slot"]:
    return jax.scipy.linalg.solve_triangular(R, values, trans=int(transpose))


def _power_of_two(x: Float[Array, "*shape"], axis: int | None = None) -> Float[Array, "*reduced"]:
    """About the largest modulus, without a derivative; 1 for zeros. Dividing by it rounds nothing."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=axis, initial=0))
    return jnp.where(largest > 0, largest / _nonzero(2 * jnp.frexp(largest)[0]), 1)


def _norm(x: Float[Array, "*shape n"]) -> Float[Array, "*shape"]:
    """|x| along the last axis, with derivative 0 at 0."""
    size = _power_of_two(x, axis=-1)
    square = jnp.sum((x / size[..., None]) ** 2, axis=-1)
    return jnp.where(square > 0, size * jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _nonzero(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.where(x == 0, 1, x)


def _huber(z: Float[Array, ""], beta: Float[Array, ""]) -> Float[Array, ""]:
    slope = jnp.minimum(z, beta)
    return jnp.where(z <= beta, z**2 / 2, slope * z - slope**2 / 2)


def _shrinkage(x: Float[Array, "sample"], beta: Float[Array, ""]) -> Float[Array, ""]:
    """(1 - beta/|x|)_+; at x = 0 that of small x."""
    size = _norm(x)
    small = jnp.where((size > 0) | (beta > 0), 0, 1)
    return jnp.where(size > beta, 1 - jnp.minimum(beta, size) / _nonzero(size), small)


def _not_empty(**arguments: Any) -> None:
    for name, value in arguments.items():
        if 0 in value.shape:
            raise ValueError(f"{name} must not be empty, got shape {value.shape}")
