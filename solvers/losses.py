r"""Convex losses of a vector of outputs, each with the dual function that turns its gradient into a lower bound.

| paper | name here | shape | meaning |
|---|---|---|---|
| $\ell(\hat{y}, y)$ | `value(outputs, y)` | () | summed over the examples, except hinge: the mean |
| $\nu$ | minus the gradient of `value` | (n,) | dual variable; squared loss: the residual $y - \hat{y}$ |
| $-\ell^*(-\nu)$ | `dual(nu, y)` | () | $\min_{\hat{y}} [\ell(\hat{y}, y) + \nu \cdot \hat{y}]$; $-\infty$ where unbounded |

Source: Bai, Gautam and Sojoudi, arXiv 2201.01965, by its public code: the 1/2 of the squared loss, the sum in place of a
mean, and the factor 2 on the logit are read there, the mean of the hinge is recalled. The duals are derived here.

Example. For $\nu$ minus the gradient, the minimum in the last line of the table is attained at the outputs themselves:

>>> import jax.numpy as jnp
>>> from closedform.solvers.losses import squared
>>> outputs, y = jnp.array([1.0, 1.0]), jnp.array([3.0, 4.0])
>>> nu = squared.dual_point(outputs, y)
>>> float(squared.dual(nu, y)), float(squared.value(outputs, y) + nu @ outputs)
(11.5, 11.5)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy
from jaxtyping import Array, Float, Real

from ..documented import documented
from ..models.fully_connected import two_layer
from ..theory.numerics.arguments import ArrayLike, at_least, known, one_of, takes

Vector = Real[ArrayLike, "sample"]
Number = Real[ArrayLike, ""]
_LABELS = one_of(-1, 1)


@documented
class Loss(NamedTuple):
    """A loss that is a sum over examples; `value` and `dual` take vectors and give a number."""

    value: Callable[[Vector, Vector], Float[Array, ""]]
    dual: Callable[[Vector, Vector], Float[Array, ""]]
    labels: bool = False  # whether y must be +1 or -1
    smooth: bool = True

    def check(self, y: Array, smooth: bool = False) -> None:
        """Raise ValueError if the loss takes labels +-1 and y has other values, or if it must be `smooth` and is not."""
        if self.labels:
            check_labels(y)
        if smooth and not self.smooth:
            raise ValueError("loss must be smooth here, and the hinge is not: see solvers.robust, with radius 0 for no attack")

    @takes()
    def bound(self, nu: Vector, norm: Number, y: Vector, weight_decay: Number) -> Float[Array, ""]:
        """The dual at min(1, weight_decay/norm) nu, which is feasible if `norm` is the dual norm of nu, or above it."""
        scale = jnp.minimum(1, weight_decay / jnp.where(norm > 0, norm, weight_decay))
        return self.dual(scale * nu, y)

    @takes()
    def dual_point(self, outputs: Vector, y: Vector) -> Float[Array, "sample"]:
        """nu = -dvalue/doutputs."""
        return -jax.grad(self.value)(outputs, y)

    @takes()
    def curvature(self, outputs: Vector, y: Vector) -> Float[Array, "sample"]:
        """Second derivative of every example's loss."""
        return jax.jvp(lambda f: jax.grad(self.value)(f, y), (outputs,), (jnp.ones_like(outputs),))[1]


def check_labels(y: Array) -> None:
    """Raise ValueError if y, where its values are known, holds anything but -1 and +1."""
    if known(y) and not np.isin(y, (-1, 1)).all():
        other = np.asarray(y)[~np.isin(y, (-1, 1))][0]
        raise ValueError(f"this loss wants labels y of -1 and +1; got {other} (labels 0 and 1 are 2 y - 1)")


@takes()
def _squared(outputs: Vector, y: Vector) -> Float[Array, ""]:
    return jnp.sum((outputs - y) ** 2) / 2


@takes()
def _squared_dual(nu: Vector, y: Vector) -> Float[Array, ""]:
    return nu @ y - nu @ nu / 2


@takes(y=_LABELS)
def _logistic(outputs: Vector, y: Vector) -> Float[Array, ""]:
    return jnp.sum(jax.nn.softplus(-2 * y * outputs))


@takes(y=_LABELS)
def _logistic_dual(nu: Vector, y: Vector) -> Float[Array, ""]:
    share = y * nu / 2  # in [0, 1]: the probability of the wrong label
    inside = (share >= 0) & (share <= 1)
    share = jnp.clip(share, 0, 1)
    return jnp.sum(jnp.where(inside, -xlogy(share, share) - xlogy(1 - share, 1 - share), -jnp.inf))


@takes(y=_LABELS)
def _hinge(outputs: Vector, y: Vector) -> Float[Array, ""]:
    return jnp.mean(jax.nn.relu(1 - y * outputs))


@takes(y=_LABELS)
def _hinge_dual(nu: Vector, y: Vector) -> Float[Array, ""]:
    share = y * nu * y.size
    return jnp.mean(jnp.where((share >= 0) & (share <= 1), share, -jnp.inf))


# 1/2 ||outputs - y||^2
squared = Loss(_squared, _squared_dual)
# sum log(1 + exp(-2 y outputs)), y = +-1: the paper's, whose labels are (1 + y)/2
logistic = Loss(_logistic, _logistic_dual, labels=True)
# mean (1 - y outputs)_+, y = +-1
hinge = Loss(_hinge, _hinge_dual, labels=True, smooth=False)


@takes(weight_decay=at_least(0))
def network_objective(
    params: two_layer.Params, x: Real[ArrayLike, "sample dim"], y: Vector, weight_decay: Number, loss: Loss = squared
) -> Float[Array, ""]:
    """The objective of training: loss + (weight_decay/2) sum_j (||u_j||^2 + alpha_j^2), (u, alpha) = (w, a)/sqrt(width).

    In the mean-field scale of two_layer the penalty is the mean over neurons of (||w_j||^2 + a_j^2)/2, times weight_decay.
    """
    outputs = jax.vmap(two_layer.apply, (None, 0))(params, x)
    penalty = (jnp.sum(params.w**2) + jnp.sum(params.a**2)) / (2 * params.a.size)
    return loss.value(outputs, y) + weight_decay * penalty
