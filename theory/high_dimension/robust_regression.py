r"""Ridge-penalised regression with the Huber loss or the absolute error under noise with outliers: exact errors.

Formula. Samples $y = \langle x, \theta \rangle/\sqrt d + \text{noise}$ with standard normal inputs, $n = \alpha d$ of them,
$|\theta|^2 = \rho d$, and noise that is $N(0, \Delta_k)$ with probability $p_k$;

$$
w = \operatorname{argmin}_w\; \sum_i \ell(y_i - \langle x_i, w \rangle/\sqrt d\,) + \tfrac{\lambda}{2} |w|^2
$$

As $d \to \infty$, with $E = |w - \theta|^2/d$ and the residual $r \sim N(0, E + \Delta_k)$ of a sample that was left out,

$$
\hat V = \alpha\, \mathbb{E}\, g'(r), \quad \hat q = \alpha\, \mathbb{E}\, g(r)^2, \qquad
V = \frac{1}{\lambda + \hat V}, \quad E = \rho \lambda^2 V^2 + \hat q V^2, \quad m = \rho \hat V V
$$

where $g = (r - \operatorname{prox}_{V \ell}(r))/V$ is a clipped line for both losses:

$$
g = \operatorname{clip}\left(\frac{r}{1 + V}, \pm \delta\right) \; \text{(Huber)}, \qquad
g = \operatorname{clip}\left(\frac{r}{V}, \pm 1\right) \; \text{(absolute)}
$$

At $\lambda = 0$ and $\alpha \leq 1$ many $w$ fit every sample. The limit of small ridges is then the one of least norm, the
same for every loss: $V = \infty$, $m = \rho \alpha$, $E = \rho (1 - \alpha) + \alpha \Delta/(1 - \alpha)$ with the mean noise
variance $\Delta$.

Regime. $n$ and $d \to \infty$ at a fixed $\alpha$; independent Gaussian inputs.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\alpha$ | `ratio` | any | samples over dimension, $n/d$ |
| $\lambda$ | `ridge` | any | of the sum over samples, not of the mean |
| $\delta$ | `delta` | any | where the Huber loss becomes linear; infinite for the squared error |
| $\Delta_k$, $p_k$ | `noise_variances`, `probabilities` | (component,) | of the noise; probabilities are divided by their sum |
| $\rho$ | `signal` | any | $\lvert \theta \rvert^2/d$ |
| $m$, $q$ | `overlap`, `norm` | any | $\langle \theta, w \rangle/d$ and $\lvert w \rvert^2/d$ |
| $V$ | `response` | any | see below |
| $E$ | `mse` | any | $\lvert w - \theta \rvert^2/d$, the error of a fresh output without its noise |

Of a fit, $V$ is $\operatorname{tr}(\sum_i x_i x_i^\top/d + \lambda)^{-1}/d$ over the samples with $|r_i| < \delta$ (Huber),
and $1/\lambda$ times one minus the samples that are fitted exactly over $d$ (absolute).

Factors. The Huber loss is $r^2/2$ up to $|r| = \delta$ and $\delta |r| - \delta^2/2$ beyond; the loss is summed. With features
$x/\sqrt d$ the absolute error is scikit-learn's `LinearSVR` with `epsilon` 0 and `C` $= 1/\lambda$.

Source. C. Thrampoulidis, E. Abbasi, B. Hassibi, arXiv 1601.06233 (recalled, not re-read). The moments in closed form and the
limit of small ridges are derived here. `convex_regression` has the same equations for any loss of the residual, by quadrature.

Finite size. Means are off by $O(1/d)$, the mean squared error by 2/d of itself at the sizes measured.

Example. One sample in ten has a noise a hundred times as strong, which the absolute error minds least:

>>> from closedform.theory.high_dimension import robust_regression
>>> noise = [0.1, 10.0], [0.9, 0.1]
>>> [round(float(robust_regression.huber(2.0, 0.5, delta, *noise).mse), 4) for delta in (float("inf"), 1.0)]
[0.4866, 0.2245]
>>> round(float(robust_regression.absolute(2.0, 0.5, *noise).mse), 4)
0.1674
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, erfc
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import ArrayLike, above, at_least, known, takes
from ..numerics.normal import pdf
from . import _pairs

Numbers = Real[ArrayLike, "*#shape"]
Components = Real[ArrayLike, "component"]
Floats = Float[Array, "*shape"]

_POSITIVE, _NON_NEGATIVE = above(0, finite=True), at_least(0, finite=True)


@documented
class RobustFit(NamedTuple):
    overlap: Float[Array, "*shape"]  # m = <theta, w>/d
    norm: Float[Array, "*shape"]  # q = |w|^2/d
    response: Float[Array, "*shape"]  # V
    mse: Float[Array, "*shape"]  # |w - theta|^2/d
    training_loss: Float[Array, "*shape"]  # mean of the loss over the training samples, without the ridge


@takes(
    ratio=_POSITIVE,
    ridge=_NON_NEGATIVE,
    delta=above(0),
    noise_variances=_POSITIVE,
    probabilities=_NON_NEGATIVE,
    signal=_NON_NEGATIVE,
)
def huber(
    ratio: Numbers,
    ridge: Numbers,
    delta: Numbers,
    noise_variances: Components,
    probabilities: Components,
    signal: Numbers = 1.0,
) -> RobustFit:
    """The fit with the Huber loss; with an infinite delta the squared error, that is ridge regression.

    >>> round(float(huber(2.0, 0.5, float("inf"), [0.25], [1.0]).mse), 5)
    0.19356
    """
    return _solve(ratio, ridge, jnp.ones_like(delta), delta, noise_variances, probabilities, signal)


@takes(
    ratio=_POSITIVE,
    ridge=_NON_NEGATIVE,
    noise_variances=_POSITIVE,
    probabilities=_NON_NEGATIVE,
    signal=_NON_NEGATIVE,
)
def absolute(
    ratio: Numbers, ridge: Numbers, noise_variances: Components, probabilities: Components, signal: Numbers = 1.0
) -> RobustFit:
    """The fit with the loss |r|, least absolute deviations.

    >>> round(float(absolute(2.0, 0.5, [0.1, 10.0], [0.9, 0.1]).mse), 4)
    0.1674
    """
    none = jnp.zeros_like(ratio)
    return _solve(ratio, ridge, none, none + 1, noise_variances, probabilities, signal)


_LARGE_V, _REACH = 30.0, 60.0  # of logarithms: of V at ridge 0, and of the error in units of the outputs


class _Moments(NamedTuple):
    q_hat: Floats  # times V^2
    v_hat: Floats
    loss: Floats


def _solve(
    ratio: Array, ridge: Array, smooth: Array, slope: Array, variances: Array, probabilities: Array, signal: Array
) -> RobustFit:
    """The loss r^2/(2 smooth) up to |r| = smooth * slope, and a line of that slope beyond: g = clip(r/(smooth + V), slope)."""
    if known(probabilities) and not np.asarray(probabilities).any():
        raise ValueError(f"probabilities must not all be 0, got {np.asarray(probabilities).tolist()}")
    p = probabilities / jnp.sum(probabilities)
    noise = jnp.sum(p * variances)
    alpha, ridge, a, b, rho = jnp.broadcast_arrays(ratio, ridge, smooth, slope, signal)
    # in units of the outputs: r = size * r'. The loss with a, b is size^2 times that with a, b/size; if a = 0, size times
    unit = rho + noise
    size = jnp.sqrt(unit)
    sharp = a == 0
    scale = jnp.where(sharp, size, 1)
    b, lam, share = jnp.where(sharp, b, b / size), ridge * scale, rho / unit
    p, variances = (jnp.expand_dims(values, tuple(range(alpha.ndim))) for values in (p, variances))
    spread = variances / unit[..., None]
    interpolates = (ridge == 0) & (alpha <= 1)
    lam = jnp.where(interpolates, 1, lam)

    def moments(log_v: Floats, log_e: Floats) -> _Moments:
        return _moments(jnp.exp(log_v), jnp.exp(log_e)[..., None] + spread, alpha, a, b, p)

    def error(log_v: Floats, log_e: Floats) -> Floats:
        return share * (lam * jnp.exp(log_v)) ** 2 + moments(log_v, log_e).q_hat

    def response(log_v: Floats, log_e: Floats) -> Floats:
        return jnp.exp(log_v) * (lam + moments(log_v, log_e).v_hat)

    def excess(log_v: Floats) -> tuple[Floats, Floats]:
        # the right side is concave in E and positive at 0, so that E is above it from one point on
        log_e, _ = _pairs.halve(lambda at: (at - jnp.log(error(log_v, at)), ()), -reach, reach)
        return response(log_v, log_e) - 1, log_e

    def residuals(point: _pairs.Pair) -> _pairs.Pair:
        return jnp.log(response(*point)), jnp.log(error(*point)) - point[1]

    reach = jnp.full_like(alpha, _REACH)
    largest = jnp.where(lam > 0, -jnp.log(jnp.where(lam > 0, lam, 1)), _LARGE_V)  # V is at most 1/lambda
    log_v, log_e = _pairs.root(residuals, _pairs.halve(excess, -reach, largest))
    found, v = moments(log_v, log_e), jnp.exp(log_v)
    seen = found.v_hat * v
    loss = found.loss * jnp.where(sharp, size, unit)
    fit = RobustFit(rho * seen, rho * seen**2 + found.q_hat * unit, v * jnp.where(sharp, size, 1), jnp.exp(log_e) * unit, loss)
    fitted = noise * alpha / jnp.where(alpha < 1, 1 - alpha, 1)
    infinite = jnp.full_like(alpha, jnp.inf)
    fitted = jnp.where(alpha < 1, fitted, infinite)
    limit = RobustFit(rho * alpha, rho * alpha + fitted, infinite, rho * (1 - alpha) + fitted, jnp.zeros_like(alpha))
    return jax.tree.map(lambda at, other: jnp.where(interpolates, at, other), limit, fit)


def _moments(v: Floats, variance: Float[Array, "*shape component"], alpha: Floats, a: Floats, b: Floats, p: Array) -> _Moments:
    """Over the residuals of samples left out, of these variances."""
    s = (a + v)[..., None]
    # the clip in units of the residual: beyond 40 there is nothing to clip, and an infinite slope would give inf * 0
    endless, b = jnp.isinf(b)[..., None], jnp.where(jnp.isinf(b), 1, b)[..., None]
    h = jnp.where(endless, 40.0, jnp.minimum(b * s / jnp.sqrt(variance), 40.0))
    inside, beyond, edge = erf(h / math.sqrt(2)), erfc(h / math.sqrt(2)), 2 * h * pdf(h)
    square = inside - edge
    smooth, v = a[..., None], v[..., None]
    loss = smooth / 2 * square + edge * s - (v + smooth / 2) * h**2 * beyond
    return _Moments(
        q_hat=alpha * jnp.sum(p * variance * (v / s) ** 2 * (square + h**2 * beyond), axis=-1),
        v_hat=alpha * jnp.sum(p * inside / s, axis=-1),
        loss=jnp.sum(p * variance / s**2 * loss, axis=-1),
    )
