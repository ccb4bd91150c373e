r"""The ridge at which a classifier errs least, for a convex loss and labels with noise.

Formula. With the error $\epsilon(\lambda)$ of `convex_learning.solve` on inputs without label noise,

$$
\lambda^* = \operatorname{argmin}_\lambda \epsilon(\lambda), \qquad
\left. \frac{d \epsilon}{d \ln \lambda} \right|_{\lambda^*} = 0, \qquad
\frac{d \lambda^*}{d x} = -\lambda^* \frac{\partial_x \partial_{\ln \lambda} \epsilon}{\partial^2_{\ln \lambda} \epsilon}
$$

for any number $x$ that the error depends on.

Regime. That of `convex_learning`. The ridge is looked for between $10^{-4}$ and $10^4$; where the error falls towards an end of
this range, that end is returned, and its derivatives are 0.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\lambda^*$ | `Best.ridge` | `()` | of a sum over samples |
| $\epsilon(\lambda^*)$ | `Best.error` | `()` | against labels without noise |
| $\alpha$ | `ratio` | `()` | samples over dimensions |

Factors. Those of `convex_learning`: the ridge multiplies $\frac{1}{2} \lvert w \rvert^2$ and the loss is summed over samples.

Source. Derived here. For numbers ridge regression is best at $\lambda = \Delta/\rho$, where it is Bayes-optimal (classical).

Finite size. The error is flat at its minimum: at $d = 200$ a ridge that is a third too large or too small costs less than a
data set scatters. For the same reason float32 leaves one digit of the ridge, or none: use float64.

Example. The logistic loss at three noisy samples a dimension:

>>> from closedform.theory.high_dimension import losses
>>> from closedform.theory.high_dimension.best_ridge import best_ridge
>>> from closedform.theory.high_dimension.label_channels import Labels
>>> best = best_ridge(3.0, losses.LOGISTIC, Labels(noise_std=0.5))
>>> round(float(best.ridge), 3), round(float(best.error), 4)
(0.111, 0.1791)
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import ArrayLike, above, takes
from . import convex_learning
from .label_channels import LABELS, PROBIT, Labels, Link
from .losses import Loss, compiled

_LEAST, _MOST = math.log(1e-4), math.log(1e4)
_POINTS, _HALVINGS = 25, 40
_STEP = 1e-3  # of ln ridge, for the bend of the error


@documented
class Best(NamedTuple):
    """Where the error is least."""

    ridge: Float[Array, ""]  # lambda
    error: Float[Array, ""]  # P(sign z is not sign u) on a fresh input


@takes(ratio=above(0, finite=True), teacher=LABELS)
def best_ridge(ratio: Real[ArrayLike, ""], loss: Loss, teacher: Labels, link: Link = PROBIT) -> Best:
    """The best ridge between 1e-4 and 1e4 at n/d = ratio, and its error. `loss` and `link` are static.

    Where labels say nothing of the teacher (flips 1/2), every ridge errs alike, and the smallest is returned.
    """
    convex_learning.require_margin(loss)
    return _best(ratio, teacher, loss=loss, link=link)


@compiled
def _best(ratio: Array, teacher: Labels, *, loss: Loss, link: Link) -> Best:
    def look(log_ridge: Array) -> tuple[Array, Array]:
        """The error and its slope."""

        def error(log_ridge: Array) -> Array:
            return convex_learning.solve(ratio, jnp.exp(log_ridge), loss, teacher, link).error

        return jax.jvp(error, (log_ridge,), (jnp.ones_like(log_ridge),))

    grid = jnp.linspace(_LEAST, _MOST, _POINTS, dtype=ratio.dtype)
    spacing = grid[1] - grid[0]

    def search(k: Array, state: _Search) -> _Search:
        """First along the grid, then by halving of the two spacings around its best point."""
        on_grid = k < _POINTS
        at = jnp.where(on_grid, grid[jnp.minimum(k, _POINTS - 1)], (state.low + state.high) / 2)
        error, slope = jax.lax.stop_gradient(look(at))
        better, falls = on_grid & (error < state.error), slope < 0
        low = jnp.where(on_grid, jnp.where(better, at - spacing, state.low), jnp.where(falls, at, state.low))
        high = jnp.where(on_grid, jnp.where(better, at + spacing, state.high), jnp.where(falls, state.high, at))
        return _Search(jnp.clip(low, _LEAST, _MOST), jnp.clip(high, _LEAST, _MOST), jnp.where(better, error, state.error))

    endless = jnp.full_like(ratio, jnp.inf)
    found = jax.lax.fori_loop(0, _POINTS + _HALVINGS, search, _Search(grid[0], grid[0], endless))
    at = (found.low + found.high) / 2
    # a step of Newton's method moves the root by nothing, and gives it the derivatives of the implicit function
    errors, slopes = jax.lax.map(look, jnp.stack([at, at - _STEP, at + _STEP]))
    bend = jax.lax.stop_gradient(slopes[2] - slopes[1]) / (2 * _STEP)
    inside = (at - _LEAST > _STEP) & (_MOST - at > _STEP) & (bend > 0)
    log_ridge = jnp.where(inside, at - slopes[0] / jnp.where(inside, bend, 1), at)
    return Best(jnp.exp(log_ridge), errors[0])


class _Search(NamedTuple):
    low: Array  # ends of what is left, logarithms of ridges
    high: Array
    error: Array  # the least on the grid so far
