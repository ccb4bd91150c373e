r"""Linear models under losses with a kink, and the plane of largest margin, by one primal-dual interior-point method.

$$
\min_w \; \frac{1}{2} \sum_j \lambda_j w_j^2 - h \cdot w + \sum_i \max_{l \le \alpha_i \le u} \alpha_i\, (t_i - g_i \cdot w)
$$

The hinge loss has $g_i = y_i x_i$, $t_i = 1$ and $\alpha_i \in [0, 1]$; the absolute loss $g_i = x_i$, $t_i = y_i$ and
$\alpha_i \in [-1, 1]$. At the optimum $\lambda_j w_j = h_j + \sum_i \alpha_i g_{ij}$, and $\alpha_i$ is inside of its interval
only where sample $i$ is at the kink: at margin exactly 1, or at residual 0.

The plane of largest margin is found as the point of the convex hull of the $y_i x_i$ that is nearest to the origin: it is
$\sum_i \alpha_i y_i x_i$ with $\alpha_i \ge 0$ of sum 1, its length is the margin, and it is the origin if no plane through the
origin separates the labels. Steps are Mehrotra's predictor-corrector; each factors one matrix of the size of the features.

| paper | name here | shape | meaning |
|---|---|---|---|
| $x$ | `features` | (n, d) | one sample a row |
| $y$ | `y` | (n,) | labels -1 and 1; of `absolute` any numbers |
| $\lambda$ | `ridge` | (), (1,) or (d,) | penalty, of all features or of each: 0 for an intercept, a column of ones |
| $\alpha$ | `dual` | (n,) | multiplier of each sample |

Factors. The loss is a sum over samples, and the ridge is not divided by their number: scikit-learn's LinearSVC(hinge) and
LinearSVR(epsilon=0) have C = 1/ridge.

Source: S. Mehrotra, SIAM J. Optim. 2 (1992) 575, doi 10.1137/0802028 (recalled); the elimination is derived here.

Example. The plane of largest margin between two points and their mirror images:

>>> from closedform.solvers import support_vectors
>>> found = support_vectors.hard_margin([[2.0, 1.0], [-2.0, 1.0]], [1.0, 1.0])
>>> round(float(found.margin), 6), found.weights.round(6).tolist()
(1.0, [0.0, 1.0])
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Bool, Float, Int, Real

from ..documented import documented
from ..theory.numerics.arguments import FINITE, ArrayLike, at_least, one_of, require_not_empty, takes
from .newton import penalties

Features = Real[ArrayLike, "sample feature"]
Samples = Real[ArrayLike, "sample"]
Penalties = Real[ArrayLike, "*penalty"]
LABELS = one_of(-1, 1)


@documented
class Fit(NamedTuple):
    weights: Float[Array, "feature"]
    dual: Float[Array, "sample"]  # alpha
    gap: Float[Array, ""]  # sum of the complementary products, in units of the loss
    steps: Int[Array, ""]
    converged: Bool[Array, ""]


@documented
class HardMargin(NamedTuple):
    weights: Float[
        Array, "feature"
    ]  # whose smallest margin y x.w is 1; NaN if no plane through the origin separates the labels
    margin: Float[Array, ""]  # smallest distance of a sample from the plane; 0 if no plane separates
    dual: Float[Array, "sample"]  # alpha >= 0 with weights = sum alpha y x, up to the gap; positive at support vectors alone
    separable: Bool[Array, ""]  # proven by the weights: all margins are positive


@takes("features", features=FINITE, y=LABELS, ridge=at_least(0, finite=True), max_steps=at_least(1))
def hinge(features: Features, y: Samples, ridge: Penalties, *, max_steps: int = 60) -> Fit:
    """The optimum of sum max(1 - y z, 0) + ridge |w|^2/2, z = x.w: the soft-margin support vector machine."""
    return _hinge(features, y, penalties(ridge, features), max_steps)


@takes("features", features=FINITE, y=FINITE, ridge=at_least(0, finite=True), max_steps=at_least(1))
def absolute(features: Features, y: Samples, ridge: Penalties, *, max_steps: int = 60) -> Fit:
    """The optimum of sum |y - z| + ridge |w|^2/2, z = x.w: least absolute deviations."""
    return _absolute(features, y, penalties(ridge, features), max_steps)


@takes("features", features=FINITE, y=LABELS, max_steps=at_least(1))
def hard_margin(features: Features, y: Samples, *, max_steps: int = 60) -> HardMargin:
    """The plane through the origin that separates the labels with the largest margin.

    In float64 a margin is found down to about 1e-6 of the longest sample; labels with a smaller one count as not separable.
    """
    require_not_empty(features=features)
    return _hard_margin(features, y, max_steps)


# inline, here and below: under a jit of the caller's the steps are part of that program
@partial(jax.jit, static_argnames="max_steps", inline=True)
def _hinge(features: Array, y: Array, ridge: Array, max_steps: int) -> Fit:
    box = _Box(y[:, None] * features, jnp.ones_like(y), jnp.zeros_like(ridge), ridge, 0.0, 1.0)
    start = jnp.full_like(y, 0.5)
    end = _interior(box, jnp.zeros_like(ridge), start, 1.0 * y.size, max_steps)
    return Fit(end.weights, end.above, _products(end), end.steps, _converged(end, 1.0 * y.size))


@partial(jax.jit, static_argnames="max_steps", inline=True)
def _absolute(features: Array, y: Array, ridge: Array, max_steps: int) -> Fit:
    mean = jnp.mean(jnp.abs(y))
    unit = jnp.where(mean > 0, mean, 1)  # y/unit has weights w/unit and the penalty unit * ridge
    box = _Box(features, y / unit, jnp.zeros_like(ridge), unit * ridge, -1.0, 1.0)
    end = _interior(box, jnp.zeros_like(ridge), jnp.ones_like(y), 1.0 * y.size, max_steps)
    dual, converged = (end.above - end.below) / 2, _converged(end, 1.0 * y.size)
    return Fit(unit * end.weights, dual, unit * _products(end), end.steps, converged)


@partial(jax.jit, static_argnames="max_steps", inline=True)
def _hard_margin(features: Array, y: Array, max_steps: int) -> HardMargin:
    longest = jnp.sqrt(jnp.max(jnp.sum(features**2, axis=1)))
    rows = y[:, None] * features / jnp.where(longest > 0, longest, 1)
    last = jnp.zeros(features.shape[1] + 1, y.dtype).at[-1].set(1)
    # unknowns w and the bound rho below all margins: |w|^2/2 - rho, whose multiplier is the sum of alpha
    box = _Box(jnp.concatenate([rows, -jnp.ones_like(rows[:, :1])], axis=1), jnp.zeros_like(y), last, 1 - last, 0.0, None)
    end = _interior(box, -last, jnp.full_like(y, 1 / y.size), 1.0, max_steps)
    nearest = end.weights[:-1]
    least, length = jnp.min(rows @ nearest), jnp.sqrt(jnp.sum(nearest**2))
    separable = least > 0
    scale = jnp.where(separable, least, jnp.nan)
    unit = jnp.where(longest > 0, longest, 1)
    margin = jnp.where(separable, unit * least / jnp.where(separable, length, 1), 0)
    return HardMargin(nearest / (scale * unit), margin, end.above / (scale * unit**2), separable)


# --- the interior-point method -----------------------------------------------------------------------------------------------


class _Box(NamedTuple):
    rows: Array  # g
    target: Array  # t
    linear: Array  # h
    penalty: Array  # lambda
    low: float  # l
    high: float | None  # u; None: no upper end


class _State(NamedTuple):
    """Complementary pairs (above, excess) and (below, shortfall), all positive, with rows.w - target = excess - shortfall."""

    weights: Array
    above: Array  # alpha - low
    below: Array  # high - alpha
    excess: Array
    shortfall: Array
    left: Array  # share of the start's violation of the linear equations that is left
    steps: Array


_REACH = 0.99  # of the way to the wall


def _products(state: _State) -> Array:
    return state.above @ state.excess + state.below @ state.shortfall


def _converged(state: _State, scale: float) -> Array:
    eps = float(jnp.finfo(state.left.dtype).eps)
    return (_products(state) <= scale * 512 * eps) & (state.left <= 0.1 * eps**0.5)


def _moved(state: _State, move: _State, length: Array) -> _State:
    w, above, below, excess, shortfall = (value + length * change for value, change in zip(state[:5], move[:5], strict=True))
    return _State(w, above, below, excess, shortfall, (1 - length) * state.left, state.steps + 1)


def _room(value: Array, change: Array) -> Array:
    """The largest step that keeps value + step * change >= 0."""
    return jnp.min(jnp.where(change < 0, -value / jnp.where(change < 0, change, 1), jnp.inf), initial=jnp.inf)


def _interior(box: _Box, weights: Array, above: Array, scale: float, max_steps: int) -> _State:
    """The optimum, to products of sum 512 `scale` times the rounding; the last finite state where that ends the steps."""
    rows, target, linear, penalty, low, high = box
    bounded = high is not None
    count = (2 if bounded else 1) * target.size
    nothing = jnp.zeros_like(target)  # of the pairs that an infinite upper end leaves out

    def step(state: _State) -> _State:
        w, p, q, a, xi, _, _ = state
        stiffness = a / p + xi / q if bounded else a / p
        missed = linear + rows.T @ (low + p) - penalty * w
        infeasible = rows @ w - target - (a - xi)
        factor = cho_factor(rows.T @ (rows / stiffness[:, None]) + jnp.diag(penalty), lower=True)

        def direction(one: Array, two: Array) -> _State:
            """Newton's: above dexcess + excess dabove = one, below dshortfall + shortfall dbelow = two."""
            pushed = (one / p - two / q if bounded else one / p) - infeasible
            dw = cho_solve(factor, missed + rows.T @ (pushed / stiffness))
            dp = (pushed - rows @ dw) / stiffness
            dq, dxi = (-dp, (two + xi * dp) / q) if bounded else (nothing, nothing)
            return _State(dw, dp, dq, (one - a * dp) / p, dxi, state.left, state.steps)

        def room(move: _State) -> Array:
            pairs = zip(state[1:5], move[1:5], strict=True)
            return jnp.min(jnp.stack([_room(value, change) for value, change in pairs]))

        predictor = direction(-p * a, -q * xi)
        now, ahead = _products(state), _products(_moved(state, predictor, jnp.minimum(room(predictor), 1)))
        goal = now / count * (ahead / now) ** 3
        second = (predictor.above * predictor.excess, predictor.below * predictor.shortfall)
        move = direction(goal - p * a - second[0], goal - q * xi - second[1])
        return _moved(state, move, jnp.minimum(_REACH * room(move), 1))

    def unfinished(states: tuple[_State, _State]) -> Array:
        """NaN, which the rounding of the last matrices may give, ends the steps."""
        _, now = states
        return jnp.isfinite(_products(now)) & ~_converged(now, scale) & (now.steps < max_steps)

    outside = rows @ weights - target
    margin = jnp.maximum(outside, 0) + 1
    below, shortfall = (high - low - above, margin - outside) if bounded else (nothing, nothing)
    start = _State(weights, above, below, margin, shortfall, jnp.ones((), target.dtype), jnp.zeros((), int))
    before, now = jax.lax.while_loop(unfinished, lambda states: (states[1], step(states[1])), (start, start))
    finite = jnp.isfinite(_products(now))
    return jax.tree.map(lambda one, other: jnp.where(finite, one, other), now, before)
