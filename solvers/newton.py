r"""Newton's method for a linear model under a smooth convex loss: logistic, squared hinge, probit, square, Huber or your own.

$$
w = \operatorname{argmin} \; \sum_i \ell(z_i, y_i) + \frac{1}{2} \sum_j \lambda_j w_j^2, \qquad z = X w
$$

and Hessian $H = \operatorname{diag}(\lambda) + X^\top \operatorname{diag}(\ell''(z_i, y_i))\, X$. The length of a step is 1
if the slope along it falls to 0.3 of what it was, and is searched for otherwise. Steps end where rounding stops the fall of the
gradient: the answer is the optimum to working precision.

| paper | name here | shape | meaning |
|---|---|---|---|
| $X$ | `features` | (n, d) | one sample a row |
| $y$ | `y` | (n,) | labels -1 and 1 of the margin losses, any numbers of the others |
| $\lambda$ | `ridge` | (), (1,) or (d,) | penalty, of all features or of each: 0 for an intercept, a column of ones |
| $\ell$ | `loss(outputs, y)` | (n,) | elementwise, convex, with a continuous slope |

Factors. The loss is a sum over samples and the ridge is not divided by their number: scikit-learn's LogisticRegression has
C = 1/ridge, its LinearSVC(squared_hinge) C = 1/(2 ridge), for that loss has no 1/2 there.

Where there is no optimum (`ridge` 0, and labels that a plane separates) or no unique one, the weights are NaN and `converged`
is False.

Source: textbook.

Example. Two equal samples with opposite labels, and three against one, whose optimum is ln 3:

>>> from closedform.solvers import newton
>>> [round(float(newton.fit([[1.0]] * len(y), y, 0.0).weights[0]), 6) for y in ([1, -1], [1, 1, 1, -1])]
[0.0, 1.098612]
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jax.scipy.special import log_ndtr
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Int, Real

from ..documented import documented
from ..theory.numerics.arguments import FINITE, ArrayLike, above, at_least, takes
from .losses import check_labels

Loss = Callable[[Array, Array], Array]  # of outputs and y, elementwise
Samples = Real[ArrayLike, "sample"]


@documented
class Fit(NamedTuple):
    weights: Float[Array, "feature"]  # NaN if not converged
    gradient: Float[Array, ""]  # its largest entry, over the largest sum of the sizes of its terms
    steps: Int[Array, ""]
    converged: Bool[Array, ""]  # the gradient is below the square root of the rounding


@takes()
def logistic(outputs: Samples, y: Samples) -> Float[Array, "sample"]:
    """log(1 + exp(-y z))."""
    return jax.nn.softplus(-y * outputs)


@takes()
def squared_hinge(outputs: Samples, y: Samples) -> Float[Array, "sample"]:
    """max(1 - y z, 0)^2/2."""
    return jax.nn.relu(1 - y * outputs) ** 2 / 2


@takes()
def probit(outputs: Samples, y: Samples) -> Float[Array, "sample"]:
    """-log Phi(y z)."""
    return -log_ndtr(y * outputs)


@takes()
def square(outputs: Samples, y: Samples) -> Float[Array, "sample"]:
    """(y - z)^2/2, of numbers or of labels."""
    return (y - outputs) ** 2 / 2


@takes(delta=above(0, finite=True))
def huber(delta: Real[ArrayLike, ""]) -> Loss:
    """r^2/2 for a residual |r| = |y - z| of at most delta, and delta |r| - delta^2/2 beyond."""
    return Partial(_huber, delta)


def _huber(delta: Array, outputs: Array, y: Array) -> Array:
    residual = y - outputs
    inside = jnp.clip(residual, -delta, delta)
    return inside * (residual - inside / 2)


_OF_LABELS = (logistic, squared_hinge, probit)


@takes("features", features=FINITE, y=FINITE, ridge=at_least(0, finite=True), max_steps=at_least(1))
def fit(
    features: Real[ArrayLike, "sample feature"],
    y: Samples,
    ridge: Real[ArrayLike, "*penalty"],
    loss: Loss = logistic,
    *,
    max_steps: int = 60,
) -> Fit:
    """The optimum, from zero weights; compiled once for all data of one shape and each loss.

    Numbers that a loss of your own depends on and that shall not compile anew: `jax.tree_util.Partial(loss_fn, numbers)`.
    """
    if loss in _OF_LABELS:
        check_labels(y)
    return _fit(features, y, penalties(ridge, features), _traced(loss), max_steps)


@takes("features", features=FINITE, y=FINITE, ridge=at_least(0, finite=True))
def response(
    features: Real[ArrayLike, "sample feature"],
    y: Samples,
    ridge: Real[ArrayLike, "*penalty"],
    weights: Real[ArrayLike, "feature"],
    loss: Loss = logistic,
) -> Float[Array, ""]:
    """V = tr H^-1/d at these weights, with d the number of features: how far a small field on all weights moves them.

    >>> round(float(response([[1.0], [2.0]], [1.0, 1.0], 3.0, [0.0], square)), 6)  # 1/(3 + 1 + 4)
    0.125
    """
    factor = cho_factor(_hessian(features, y, penalties(ridge, features), features @ weights, _traced(loss)), lower=True)
    return jnp.trace(cho_solve(factor, jnp.eye(weights.size, dtype=weights.dtype))) / weights.size


def penalties(ridge: Array, features: Array) -> Float[Array, "feature"]:
    """The penalty of each feature."""
    dim = features.shape[1]
    if ridge.shape not in ((), (1,), (dim,)):
        raise ValueError(f"ridge must be one number or one for each of the {dim} features, got shape {ridge.shape}")
    return jnp.broadcast_to(ridge, (dim,))


def _traced(loss: Loss) -> Partial:
    return loss if isinstance(loss, Partial) else Partial(loss)


def _slope(loss: Loss, outputs: Array, y: Array) -> Array:
    return jax.grad(lambda z: jnp.sum(loss(z, y)))(outputs)


def _hessian(features: Array, y: Array, ridge: Array, outputs: Array, loss: Loss) -> Array:
    curvature = jax.jvp(lambda z: _slope(loss, z, y), (outputs,), (jnp.ones_like(outputs),))[1]
    return features.T @ (curvature[:, None] * features) + jnp.diag(ridge)


_TRIALS = 50  # of the length of a step: a Huber loss far from its optimum has no curvature but the ridge


class _Trial(NamedTuple):
    length: Array
    low: Array  # too short
    high: Array  # too long
    number: Array
    fits: Array


class _State(NamedTuple):
    weights: Array
    outputs: Array
    gradient: Array  # over the size of its terms
    before: Array  # of the step before
    steps: Array


# inline: under a jit of the caller's the steps are part of that program
@partial(jax.jit, static_argnames="max_steps", inline=True)
def _fit(features: Array, y: Array, ridge: Array, loss: Loss, max_steps: int) -> Fit:
    eps = float(jnp.finfo(features.dtype).eps)
    size = jnp.abs(features)

    def gradient(weights: Array, outputs: Array) -> tuple[Array, Array]:
        slope = _slope(loss, outputs, y)
        whole = features.T @ slope + ridge * weights
        terms = jnp.max(size.T @ jnp.abs(slope) + ridge * jnp.abs(weights))
        return whole, jnp.where(terms == 0, 0, jnp.max(jnp.abs(whole)) / jnp.where(terms == 0, 1, terms))

    def step(state: _State) -> _State:
        weights, outputs, before, _, steps = state
        whole, _ = gradient(weights, outputs)
        direction = -cho_solve(cho_factor(_hessian(features, y, ridge, outputs, loss), lower=True), whole)
        change = features @ direction

        def along(length: Array) -> tuple[Array, Array, Array]:
            """The objective at a length, the size of its terms, and its slope."""
            terms, moved = loss(outputs + length * change, y), weights + length * direction
            penalty = ridge * moved**2 / 2
            slope = _slope(loss, outputs + length * change, y) @ change + (ridge * moved) @ direction
            return jnp.sum(terms) + jnp.sum(penalty), jnp.sum(jnp.abs(terms)) + jnp.sum(penalty), slope

        start, scale, steepness = along(jnp.zeros((), y.dtype))

        def shorten(trial: _Trial) -> _Trial:
            value, _, slope = along(trial.length)
            allowed = start + 16 * eps * scale  # near the optimum the fall is below rounding
            fits = (jnp.abs(slope) <= 0.3 * jnp.abs(steepness)) & (value <= allowed)
            long = (slope > 0) | ~(value <= allowed)
            low, high = jnp.where(long, trial.low, trial.length), jnp.where(long, trial.length, trial.high)
            other = jnp.where(high < jnp.inf, (low + high) / 2, 2 * trial.length)
            return _Trial(jnp.where(fits, trial.length, other), low, high, trial.number + 1, fits)

        zero = jnp.zeros((), y.dtype)
        first = _Trial(zero + 1, zero, zero + jnp.inf, jnp.zeros((), int), jnp.zeros((), bool))
        length = jax.lax.while_loop(lambda t: ~t.fits & (t.number < _TRIALS), shorten, first).length
        weights = weights + length * direction
        outputs = features @ weights
        return _State(weights, outputs, gradient(weights, outputs)[1], before, steps + 1)

    def falls(state: _State) -> Array:
        """Far from the optimum in any case, near it as long as the gradient halves; NaN ends the steps."""
        far, halved = state.gradient > eps**0.5, state.gradient < state.before / 2
        return (far | halved) & (state.gradient > eps) & (state.steps < max_steps)

    zero = jnp.zeros(features.shape[1], features.dtype)
    outputs = jnp.zeros_like(y)
    start = _State(zero, outputs, gradient(zero, outputs)[1], jnp.asarray(jnp.inf, y.dtype), jnp.zeros((), int))
    end = jax.lax.while_loop(falls, step, start)
    converged = end.gradient <= eps**0.5
    return Fit(jnp.where(converged, end.weights, jnp.nan), end.gradient, end.steps, converged)
