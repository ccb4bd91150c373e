r"""Learning numbers with a convex loss of the residual and a ridge: risks of square, Huber and absolute losses, exactly.

Formula. $w = \operatorname{argmin}_w \sum_i \ell(y_i - z_i) + \frac{\lambda}{2} \lvert w \rvert^2$ with
$y = u + \text{noise}$, where the noise has the variance $\Delta_k$ with probability $p_k$. With $r \sim N(0, T_k)$,
$T_k = E + \Delta_k$ and the slope $g = \ell'(\operatorname{prox}_{V \ell}(r))$ of the envelope,

$$
\begin{align*}
\hat q &= \alpha\, \mathbb{E} g^2, \qquad
    \hat V = \alpha\, \mathbb{E} \partial_r g = \alpha \sum_k p_k \frac{\mathbb{E} r g}{T_k}, \qquad
    V = \frac{1}{\lambda + \hat V} \\
E &= \frac{1}{d} \lvert w - \theta \rvert^2 = (\rho \lambda^2 + \hat q) V^2, \qquad
    m = \rho \hat V V, \qquad q = (\rho \hat V^2 + \hat q) V^2 = E - \rho + 2 m
\end{align*}
$$

Regime. $n$ and $d \to \infty$ at a fixed ratio $\alpha$, inputs $N(0, I)$, convex losses.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\alpha$, $\lambda$ | `ratio`, `ridge` | `()` | n/d; ridge of a sum over samples |
| $\rho$, $\Delta_k$, $p_k$ | `teacher` | | `label_channels.Numbers` |
| $E$ | `RegressionSolution.risk` | `()` | excess squared error: without the noise of a fresh label |
| $m$, $q$, $V$ | `.overlap`, `.norm`, `.response` | `()` | order parameters |

Factors. The ridge multiplies $\frac{1}{2} \lvert w \rvert^2$ and the loss is summed: for `SQUARED_RESIDUAL`, which has the
$\frac{1}{2}$, it is the ridge of $(X^\top X + \lambda)^{-1} X^\top y$ with entries of $X$ of variance $1/d$.

Source. C. Thrampoulidis, E. Abbasi, B. Hassibi, arXiv 1601.06233 (recalled). Derived here again.

Finite size. The risk of one data set scatters by $O(1/\sqrt{d})$; its mean is off by 2/d (absolute) and 3/d (square), relative,
at $\alpha = 2$, $\lambda = 1/2$ and the outliers of the example. Where risk 0 is reached (no noise, ridge 0, more samples than
dimensions) a risk of the order of rounding squared is returned.

Example. A tenth of the labels has a hundred times the noise: the absolute loss does not mind.

>>> from closedform.theory.high_dimension import convex_regression, losses
>>> from closedform.theory.high_dimension.label_channels import Numbers
>>> teacher = Numbers(1.0, [0.1, 10.0], [0.9, 0.1])
>>> for loss in (losses.SQUARED_RESIDUAL, losses.ABSOLUTE):
...     print(round(float(convex_regression.solve(2.0, 0.5, loss, teacher).risk), 3))
0.487
0.167
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import ArrayLike, above, at_least, known, require_not_empty, takes
from . import label_channels
from ._fixed_point import fixed_point
from .convex_learning import mean_bend
from .label_channels import NUMBERS, Numbers
from .losses import Loss, compiled

Number = Real[ArrayLike, ""]


@documented
class RegressionSolution(NamedTuple):
    """The optimum in the limit of high dimension."""

    risk: Float[Array, ""]  # E = |w - theta|^2/d: squared error on a fresh input, without noise
    overlap: Float[Array, ""]  # m = theta.w/d
    norm: Float[Array, ""]  # q = |w|^2/d
    response: Float[Array, ""]  # V = tr H^-1/d
    training_loss: Float[Array, ""]  # mean of l over the training samples
    energy: Float[Array, ""]  # alpha training_loss + ridge/2 q


@takes(ratio=above(0, finite=True), ridge=at_least(0, finite=True), teacher=NUMBERS)
def solve(ratio: Number, ridge: Number, loss: Loss, teacher: Numbers) -> RegressionSolution:
    """The optimum at n/d = ratio. Differentiable; vmap any number. `loss` is static.

    Results are infinite where no optimum is found: at ridge 0 with fewer samples than dimensions. Raises ValueError for weights
    that do not sum to 1.

    >>> from closedform.theory.high_dimension import losses
    >>> round(float(solve(1.5, 0.15, losses.SQUARED_RESIDUAL, Numbers(2.0, [0.3], [1.0])).risk), 6)
    0.361187
    """
    _require_residual(loss)
    require_not_empty(**{"teacher.weights": teacher.weights})
    if known(teacher.weights) and abs(float(jnp.sum(teacher.weights)) - 1) > 1e-5:
        raise ValueError(f"teacher.weights must sum to 1, got {float(jnp.sum(teacher.weights)):g}")
    return _solve(ratio, ridge, teacher, loss=loss)


@compiled
def _solve(ratio: Array, ridge: Array, teacher: Numbers, *, loss: Loss) -> RegressionSolution:
    rho, tiny = teacher.norm_squared, jnp.finfo(ratio.dtype).tiny
    least = rho * jnp.finfo(ratio.dtype).eps ** 2

    def conjugates(x: Array) -> tuple[Array, Array, Array]:
        """q hat, V hat and the training loss."""
        risk, V = jnp.exp(x)

        def component(variance: Array) -> tuple[Array, Array, Array]:
            # without noise the risk may vanish: noise of the order of rounding gives it a scale
            deviation = jnp.sqrt(risk + jnp.maximum(variance, least))
            xi, weights = label_channels.nodes(loss.edges(jnp.zeros_like(V), deviation, V), V)
            r = deviation * xi
            slope = loss.envelope_slope(r, jnp.full_like(r, V))
            value = jnp.sum(weights * loss.value(r - V * slope))
            stein = jnp.sum(weights * xi * slope) / deviation
            bend = mean_bend(stein, weights, loss, r, jnp.full_like(r, V))
            return jnp.sum(weights * slope**2), bend, value

        parts = jax.vmap(component)(teacher.noise_variances)
        square, slope, value = (jnp.sum(teacher.weights * part) for part in parts)
        return ratio * square, ratio * slope, value

    def students(norm_hat: Array, response_hat: Array) -> tuple[Array, Array]:
        V = 1 / jnp.maximum(ridge + response_hat, tiny)
        return jnp.maximum((rho * ridge**2 + norm_hat) * V**2, least), V

    def update(x: Array) -> Array:
        return jnp.log(jnp.stack(students(*conjugates(x)[:2])))

    # where nothing is unknown the risk vanishes, and where samples are few and the ridge small the response is large
    guesses = (rho, ratio / 4), (rho, least / rho), (least, ratio / 4)
    starts = [jnp.log(jnp.stack([risk, 1 / (ridge + curvature)])) for risk, curvature in guesses]
    x, reached = fixed_point(update, *starts)
    norm_hat, response_hat, training_loss = conjugates(x)
    risk, V = students(norm_hat, response_hat)
    overlap = rho * response_hat * V
    norm = (rho * response_hat**2 + norm_hat) * V**2  # risk - rho + 2 overlap, without the difference
    energy = ratio * training_loss + ridge / 2 * norm
    values = RegressionSolution(risk, overlap, norm, V, training_loss, energy)
    return jax.tree.map(lambda value: jnp.where(reached, value, jnp.inf), values)


def _require_residual(loss: Loss) -> None:
    if not isinstance(loss, Loss) or loss.of != "residual":
        given = f"a loss of a {loss.of}" if isinstance(loss, Loss) else f"{loss!r}"[:60]
        raise ValueError(f"loss must be a Loss of a residual (losses.ABSOLUTE, residual_loss(..)), got {given}")
