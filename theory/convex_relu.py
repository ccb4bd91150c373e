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
>>> from closedform.theory import convex_relu
>>> x, y = jnp.eye(2), jnp.array([3.0, 4.0])
>>> patterns = jnp.array([[1, 1, 0, 0], [1, 0, 1, 0]])
>>> norm = convex_relu.dual_norm(y, x, patterns)  # beta_max
>>> [float(convex_relu.duality_gap(y @ y / 2, y, y, beta, norm)) for beta in (5.0, 4.0)]
[0.0, 0.5]
>>> float(y @ y / 2 - convex_relu.whitened_optimum(y, 4.0))
0.5
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real, Shaped

from .gaussian import as_floats

Number = Real[ArrayLike, ""]


class DualMaximum(NamedTuple):
    """The unit of ReLU that a dual variable nu responds to most: value = sign nu.relu(x direction)."""

    value: Float[Array, ""]  # N(nu)
    direction: Float[Array, "dim"]  # u, |u| = 1 (0 if the value is 0)
    sign: Float[Array, ""]  # +1 or -1, the sign of the output weight


# ----------------------------------------------------------------------------------------------- how many patterns


def pattern_count(num_samples: Number, rank: int) -> Float[Array, ""]:
    """P = 2 sum_{k<r} C(n-1, k), the activation patterns of n >= 1 inputs in general position in `rank` dimensions.

    Cover's count of the sign patterns of a linear function; 2^n for rank >= n. Exact below 1/eps of the dtype.

    >>> [int(pattern_count(n, rank)) for n, rank in ((6, 2), (8, 2), (8, 3), (10, 3), (9, 4), (5, 9))]
    [12, 16, 58, 92, 186, 32]
    """
    (n,) = as_floats(num_samples)
    binomial = total = jnp.ones_like(n)
    for k in range(1, rank):
        binomial = binomial * (n - k) / k  # C(n-1, k) from C(n-1, k-1): the product is an exact multiple of k
        total = total + binomial
    return 2 * total


def pattern_bound(num_samples: Number, rank: int) -> Float[Array, ""]:
    """The bound 2 r (e(n-1)/r)^r on the number of patterns, for 1 <= r <= n and n >= 2.

    >>> round(float(pattern_bound(10, 3)), 1)
    3253.9
    """
    (n,) = as_floats(num_samples)
    return 2 * rank * (math.e * (n - 1) / rank) ** rank


def scenario_bound(num_samples: Number, psi: Number, xi: Number) -> Float[Array, ""]:
    """Sampled patterns P_s that suffice: min{(n+1)/(psi xi) - 1, (2/xi)(n + 1 - log psi)}. Recalled, not re-read.

    With probability >= 1 - psi one more random pattern then lowers the optimum with probability <= xi: the scenario
    bound for n + 1 dual variables.

    >>> round(float(scenario_bound(10, 0.1, 0.1)), 3)
    266.052
    """
    n, failure, violation = as_floats(num_samples, psi, xi)
    return jnp.minimum((n + 1) / (failure * violation) - 1, 2 / violation * (n + 1 - jnp.log(failure)))


# --------------------------------------------------------------------------------------------------- the certificate


def dual_norm(
    nu: Float[Array, "sample"], x: Float[Array, "sample dim"], patterns: Shaped[Array, "sample pattern"]
) -> Float[Array, ""]:
    """N(nu) = max_{|u| <= 1} |nu.relu(x u)| over the cones of the `patterns` (0/1 or bool). Differentiable in nu and x.

    >>> x = jnp.eye(2)
    >>> patterns = jnp.array([[1, 1, 0, 0], [1, 0, 1, 0]])
    >>> float(dual_norm(jnp.array([3.0, -4.0]), x, patterns)), float(dual_norm(jnp.array([3.0, 4.0]), x, patterns))
    (4.0, 5.0)
    """
    return dual_direction(nu, x, patterns).value


def dual_direction(
    nu: Float[Array, "sample"], x: Float[Array, "sample dim"], patterns: Shaped[Array, "sample pattern"]
) -> DualMaximum:
    """The maximising direction and sign of N(nu): the neuron whose addition lowers the loss fastest.

    N(nu) = max_{i,s} |Proj_{K_i}(s x' D_i nu)|. Direction and sign carry no derivative; the value has, by the envelope
    theorem, that of the Lagrangian s nu.(D_i x u) + lambda.(G_i u): the multipliers count where u lies on an edge of K_i,
    as it moves with x there.
    """
    active = patterns.T.astype(x.dtype)
    signs = 2 * active - 1
    q = (active * nu[None]) @ x
    over_patterns = jax.vmap(cone_projection, (0, None, 0))
    pieces = jax.lax.stop_gradient(jax.vmap(over_patterns, (0, None, None))(jnp.stack([q, -q]), x, signs))
    best = jnp.argmax(jnp.sum(pieces.point**2, axis=-1))
    which, i = jnp.divmod(best, len(active))
    point, multipliers = pieces.point[which, i], pieces.multipliers[which, i]
    direction, sign = point / _nonzero(_norm(point)), (1 - 2 * which).astype(x.dtype)
    slopes = sign * nu * active[i] + multipliers * signs[i]
    return DualMaximum(slopes @ (x @ direction), direction, sign)


def beta_max(
    x: Float[Array, "sample dim"], y: Float[Array, "sample"], patterns: Shaped[Array, "sample pattern"]
) -> Float[Array, ""]:
    """N(y), the least weight decay at which the zero network is optimal: nu = y is then feasible in the dual."""
    return dual_norm(y, x, patterns)


def dual_value(nu: Float[Array, "sample"], y: Float[Array, "sample"]) -> Float[Array, ""]:
    """nu.y - |nu|^2/2, a lower bound of p* if N(nu) <= beta; equal to p* at nu = y - yhat of an optimum."""
    return nu @ y - nu @ nu / 2


def duality_gap(
    objective: Number, residual: Float[Array, "sample"], y: Float[Array, "sample"], beta: Number, norm: Number
) -> Float[Array, ""]:
    """How far, at most, a network of this objective and residual r = y - yhat is above p*, given norm = N(r).

    The residual scaled by c = min(1, beta/N(r)) is feasible in the dual. The scaling by c = 1 alone would bound nothing.
    """
    value, r, target, decay, bound = as_floats(objective, residual, y, beta, norm)
    c = jnp.where(bound > decay, decay / _nonzero(bound), 1)
    return value - dual_value(c * r, target)


# ------------------------------------------------------------------------------------- closed forms for whitened data


def whitened_optimum(y: Float[Array, "sample"], beta: Number) -> Float[Array, ""]:
    """p* = h(|y_+|) + h(|y_-|) if x x' = 1: one neuron fits the positive targets, one the negative ones.

    >>> y = jnp.array([1.2, -0.7, 0.4, -1.1, 0.9])
    >>> [round(float(whitened_optimum(y, beta)), 5) for beta in (0.2, 1.0, 1.4)]
    [0.53125, 1.85626, 2.04338]
    """
    target, decay = as_floats(y, beta)
    return _huber(_norm(jax.nn.relu(target)), decay) + _huber(_norm(jax.nn.relu(-target)), decay)


def whitened_gated_optimum(y: Float[Array, "sample"], beta: Number) -> Float[Array, ""]:
    """h(|y|), the optimum of the gated ReLU relaxation (all patterns, no cones) if x x' = 1; at most `whitened_optimum`.

    >>> round(float(whitened_gated_optimum(jnp.array([1.2, -0.7, 0.4, -1.1, 0.9]), 0.2)), 5)
    0.38546
    """
    target, decay = as_floats(y, beta)
    return _huber(_norm(target), decay)


def whitened_prediction(y: Float[Array, "sample"], beta: Number) -> Float[Array, "sample"]:
    """The optimal outputs if x x' = 1: yhat = y_+ (1 - beta/|y_+|)_+ - y_- (1 - beta/|y_-|)_+."""
    target, decay = as_floats(y, beta)
    plus, minus = jax.nn.relu(target), jax.nn.relu(-target)
    return plus * _shrinkage(plus, decay) - minus * _shrinkage(minus, decay)


# --------------------------------------------------------------------------------------------- adversarial training


def worst_margin(
    outputs: Float[Array, "sample"], slopes: Float[Array, "sample dim"], y: Float[Array, "sample"], eps: Number
) -> Float[Array, "sample"]:
    """min over |delta|_inf <= eps of y f(x + delta) = y f - eps |grad f|_1, with `slopes` the gradients of f in x.

    For a network none of whose activations changes in the balls; labels y = +-1.

    >>> worst_margin(jnp.array([2.0, 2.0]), jnp.array([[1.0, -3.0], [0.0, 1.0]]), jnp.array([1.0, -1.0]), 0.25).tolist()
    [1.0, -2.25]
    """
    f, gradient, label, radius = as_floats(outputs, slopes, y, eps)
    return label * f - radius * jnp.sum(jnp.abs(gradient), axis=1)


def robust_worst_case(
    outputs: Float[Array, "sample"], slopes: Float[Array, "sample dim"], y: Float[Array, "sample"], eps: Number
) -> Float[Array, ""]:
    """The mean worst-case hinge (1 - worst margin)_+, without the penalty."""
    return jnp.mean(jax.nn.relu(1 - worst_margin(outputs, slopes, y, eps)))


# ------------------------------------------------------------------------------------------------- cone projection


class Projection(NamedTuple):
    """The nearest point of a cone to q: point = q + rows' multipliers, with multipliers >= 0 and 0 where rows.point > 0."""

    point: Float[Array, "dim"]
    multipliers: Float[Array, "sample"]  # of signs * rows
    face: Int[Array, "slot"]  # the at most dim rows that hold the point, then num_samples


def cone_projection(
    q: Float[Array, "dim"],
    rows: Float[Array, "sample dim"],
    signs: Float[Array, "sample"] | None = None,
    start: Int[Array, "slot"] | None = None,
) -> Projection:
    """The point of the cone {u: signs * (rows u) >= 0} nearest to q; without `signs`, of {u: rows u >= 0}.

    Lawson and Hanson's active-set method on the dual, min over lambda >= 0 of |q + rows' lambda|. With `signs` (+-1, or 0
    to leave a row out) many cones share one x under vmap with axes (0, None, 0). `start`, the face of a nearby q in the same
    cone, saves pivots. Differentiable in q and rows while the face stays. Ends in any case after 3 (sample + dim) pivots.

    >>> cone_projection(jnp.array([1.0, -2.0]), jnp.array([[0.0, 1.0], [1.0, 1.0]])).point.tolist()
    [1.0, 0.0]
    """
    num_samples, dim = rows.shape
    lengths = jnp.sqrt(jnp.sum(jax.lax.stop_gradient(rows) ** 2, axis=1))
    factors = (jnp.ones_like(lengths) if signs is None else signs) / _nonzero(lengths)
    first = jnp.full(dim, num_samples) if start is None else start
    fixed = jax.lax.stop_gradient((q, rows / _nonzero(lengths)[:, None], signs))
    face, guess = _find_face(*fixed, first)
    # A Newton step on the equations of the face, point = q + B' lambda and B point = 0: it changes the solution by
    # rounding only, and carries its derivative in q and B.
    factor = factors.at[face].get(mode="fill", fill_value=0)
    B = rows.at[face].get(mode="fill", fill_value=0) * factor[:, None]
    Q, R = _orthonormal(jax.lax.stop_gradient(B))
    pushed = q + guess @ B
    point = pushed - Q @ (pushed @ Q)
    point = point - Q @ _solve(R, B @ jax.lax.stop_gradient(point), transpose=True)
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


def _norm(x: Float[Array, "n"]) -> Float[Array, ""]:
    """|x|, with derivative 0 at 0."""
    square = jnp.sum(x**2)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _nonzero(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.where(x == 0, 1, x)


def _huber(z: Float[Array, ""], beta: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(z <= beta, z**2 / 2, beta * z - beta**2 / 2)


def _shrinkage(x: Float[Array, "sample"], beta: Float[Array, ""]) -> Float[Array, ""]:
    return jax.nn.relu(1 - beta / _nonzero(_norm(x)))
