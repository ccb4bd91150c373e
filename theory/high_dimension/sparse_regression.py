r"""The LASSO and the elastic net on sparse weights: exact errors, and the number of samples that the least l1 norm needs.

Formula. Samples $y = \langle x, \theta \rangle/\sqrt d + \sqrt\Delta\, \xi$ with standard normal inputs, $n = \alpha d$ of
them, and weights of which a share $\varepsilon$ is $N(0, v)$ and all others are 0;

$$
w = \operatorname{argmin}_w\; \tfrac12 \sum_i (y_i - \langle x_i, w \rangle/\sqrt d\,)^2 + \lambda_1 |w|_1 +
\tfrac{\lambda_2}{2} |w|^2
$$

As $d \to \infty$ a weight of the fit has the law of

$$
w = c\, S(\theta + \tau \xi;\, t), \qquad \tau^2 = \frac{E + \Delta}{\alpha}, \quad t = \frac{\lambda_1}{\hat V}, \quad
c = \frac{\hat V}{\hat V + \lambda_2}
$$

with the soft threshold $S(u; t) = \operatorname{sign}(u) \max(|u| - t, 0)$ and the solution of

$$
E = \mathbb{E} (w - \theta)^2, \qquad \hat V = \frac{\alpha}{1 + V}, \qquad V = \frac{P(w \neq 0)}{\hat V + \lambda_2}
$$

Without noise the least $|w|_1$ of all $w$ that fit finds $\theta$ if $\alpha$ is above

$$
\alpha_1(\varepsilon) = \min_h\; \varepsilon (1 + h^2) + 2 (1 - \varepsilon) \left[(1 + h^2) \Phi(-h) - h \varphi(h)\right]
$$

Regime. $n$ and $d \to \infty$ at a fixed $\alpha$, independent Gaussian inputs.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\alpha$ | `ratio` | any | samples over dimension, $n/d$ |
| $\lambda_1$, $\lambda_2$ | `l1_penalty`, `l2_penalty` | any | of the sum over samples, not of the mean |
| $\varepsilon$ | `density` | any | share of the weights that are not 0 |
| $v$ | `slab_variance` | any | variance of these |
| $\Delta$ | `noise_variance` | any | variance of the label noise |
| $E$ | `mse` | any | $\lvert w - \theta \rvert^2/d$, the error of a fresh output without its noise |
| $m$, $q$ | `overlap`, `norm` | any | $\langle \theta, w \rangle/d$ and $\lvert w \rvert^2/d$ |
| $V$ | `response` | any | $\operatorname{tr} (X_A^\top X_A/d + \lambda_2)^{-1}/d$ over the weights $A$ that are not 0 |

Factors. The squared error has a factor 1/2 and is summed. With features $x/\sqrt d$ scikit-learn's `Lasso` has
`alpha` $= \lambda_1/n$; its `ElasticNet` has `alpha` $= (\lambda_1 + \lambda_2)/n$ and
`l1_ratio` $= \lambda_1/(\lambda_1 + \lambda_2)$.

Source. M. Bayati, A. Montanari, arXiv 1008.2581 (the LASSO), D. Donoho, J. Tanner, arXiv 0807.3590, and D. Donoho, A. Maleki,
A. Montanari, arXiv 0907.3574 (the threshold); recalled, not re-read. The moments in closed form are derived here.

Finite size. Means are off by $O(1/d)$, the mean squared error by 2/d of the mean square of $\theta$ at the sizes measured.
The threshold has a width of order $d^{-1/2}$.

Example. Half as many samples as weights, of which one in five is not 0:

>>> from closedform.theory.high_dimension import sparse_regression
>>> fit = sparse_regression.elastic_net(0.5, 0.5, 0.2, 5.0, 0.1)
>>> round(float(fit.mse), 4), round(float(fit.active), 4), round(float(sparse_regression.l1_threshold(0.2)), 4)
(0.3635, 0.1837, 0.5111)
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import erf, erfc
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import ArrayLike, above, at_least, between, takes
from ..numerics.normal import pdf
from ..numerics.roots import square_root
from . import _pairs

Numbers = Real[ArrayLike, "*#shape"]
Floats = Float[Array, "*shape"]

_POSITIVE, _NON_NEGATIVE = above(0, finite=True), at_least(0, finite=True)
_DENSITY = between(0, 1, low_open=True)


@documented
class ElasticNet(NamedTuple):
    """What a fit tends to; all per weight or per sample."""

    overlap: Float[Array, "*shape"]  # m = <theta, w>/d
    norm: Float[Array, "*shape"]  # q = |w|^2/d
    response: Float[Array, "*shape"]  # V
    mse: Float[Array, "*shape"]  # |w - theta|^2/d
    l1_norm: Float[Array, "*shape"]  # |w|_1/d
    active: Float[Array, "*shape"]  # share of the weights of the fit that are not 0
    power: Float[Array, "*shape"]  # the same among the weights of which theta is not 0
    false_positives: Float[Array, "*shape"]  # the same among those of which theta is 0
    training_error: Float[Array, "*shape"]  # mean square of the residuals, (E + Delta)/(1 + V)^2


@takes(
    ratio=_POSITIVE,
    l1_penalty=_POSITIVE,
    density=_DENSITY,
    slab_variance=_POSITIVE,
    noise_variance=_NON_NEGATIVE,
    l2_penalty=_NON_NEGATIVE,
)
def elastic_net(
    ratio: Numbers,
    l1_penalty: Numbers,
    density: Numbers,
    slab_variance: Numbers,
    noise_variance: Numbers,
    l2_penalty: Numbers = 0.0,
) -> ElasticNet:
    """The fit with penalties l1_penalty |w|_1 + l2_penalty |w|^2/2: the LASSO where the second is 0.

    >>> round(float(elastic_net(1.5, 1.0, 0.3, 1.0, 0.25).mse), 6)
    0.122915
    """
    alpha, l1, eps, v, delta, l2 = jnp.broadcast_arrays(ratio, l1_penalty, density, slab_variance, noise_variance, l2_penalty)
    # in units of the outputs: the problem is homogeneous
    unit = eps * v + delta
    v, delta, l1 = v / unit, delta / unit, l1 / jnp.sqrt(unit)

    def fit(log_h: Floats, log_e: Floats) -> _Fit:
        return _fit(jnp.exp(log_h), (jnp.exp(log_e) + delta) / alpha, alpha, eps, v, l2)

    def excess(log_h: Floats) -> tuple[Floats, Floats]:
        """Of the threshold h tau, and ln E of the fit that has it."""
        log_e, _ = _pairs.halve(lambda at: (at - jnp.log(fit(log_h, at).mse), ()), -reach, reach)
        # V_hat is 0 where more weights would be active than there are samples: the threshold is too low
        one = fit(log_h, log_e)
        return jnp.exp(log_h) * one.tau * one.v_hat - l1, log_e

    def residuals(point: _pairs.Pair) -> _pairs.Pair:
        one = fit(*point)
        return jnp.log(one.mse) - point[1], point[0] + jnp.log(one.tau * one.v_hat / l1)

    reach = jnp.full_like(alpha, _REACH)
    start = _pairs.halve(excess, -reach, reach)
    one = fit(*_pairs.root(residuals, start))
    training = alpha * (one.tau * one.v_hat / alpha) ** 2  # (E + Delta)/(1 + V)^2
    size = jnp.sqrt(unit)
    return ElasticNet(
        overlap=one.overlap * unit,
        norm=one.norm * unit,
        response=one.response,
        mse=one.mse * unit,
        l1_norm=one.l1_norm * size,
        active=one.active,
        power=one.power,
        false_positives=one.false_positives,
        training_error=training * unit,
    )


@takes(density=_DENSITY)
def l1_threshold(density: Numbers) -> Float[Array, "*shape"]:
    """Samples over dimension from which on the least l1 norm finds weights of that density, without noise.

    >>> round(float(l1_threshold(0.1)), 6)
    0.328794
    """

    def slope(h: Floats) -> tuple[Floats, tuple]:  # of the minimand, over 2
        return density * h - 2 * (1 - density) * (pdf(h) - h * _tail(h)), ()

    h, _ = _pairs.halve(slope, jnp.zeros_like(density), jnp.full_like(density, 40.0))
    return density * (1 + h**2) + (1 - density) * _square(h)  # the slope in h is 0


_REACH = 60.0  # of the logarithms of the threshold and of the error, in units of the outputs


class _Fit(NamedTuple):
    tau: Floats
    v_hat: Floats
    response: Floats
    mse: Floats
    overlap: Floats
    norm: Floats
    l1_norm: Floats
    active: Floats
    power: Floats
    false_positives: Floats


def _fit(h: Floats, tau_square: Floats, alpha: Floats, eps: Floats, v: Floats, l2: Floats) -> _Fit:
    """Moments of c S(theta + tau xi; h tau)."""
    tau = jnp.sqrt(tau_square)
    a_square = v + tau_square
    a = jnp.sqrt(a_square)  # deviation of theta + tau xi where theta is not 0
    k, t = h * tau / a, h * tau
    power, false_positives = 2 * _tail(k), 2 * _tail(h)
    active = eps * power + (1 - eps) * false_positives
    # V_hat = alpha/(1 + V) with V = active/(V_hat + l2): the root of a quadratic that is not negative
    half = alpha - l2 - active
    root = square_root(half**2 + 4 * alpha * l2)
    rising = half >= 0
    v_hat = jnp.where(rising, (half + root) / 2, 2 * alpha * l2 / jnp.where(rising, 1, root - half))
    stiff = v_hat + l2
    rest = jnp.where(stiff > 0, l2 / jnp.where(stiff > 0, stiff, 1), 0)  # 1 - c
    c = 1 - rest
    # given u = theta + tau xi, theta has mean (v/a^2) u: the error in terms of what is cut off, so that nothing cancels
    d = tau_square / a_square - rest
    inside = erf(k / math.sqrt(2))  # P(|u| < t)
    cut = a_square * (inside - 2 * k * pdf(k)) + t**2 * power  # E min(|u|, t)^2
    mse_slab = v * tau_square / a_square + d**2 * a_square - 2 * c * d * a_square * inside + c**2 * cut
    spike = c**2 * tau_square * _square(h)
    return _Fit(
        tau=tau,
        v_hat=v_hat,
        response=active / jnp.where(stiff > 0, stiff, 1),
        mse=eps * mse_slab + (1 - eps) * spike,
        overlap=eps * v * power * c,
        norm=eps * c**2 * a_square * _square(k) + (1 - eps) * spike,
        l1_norm=c * (eps * a * _size(k) + (1 - eps) * tau * _size(h)),
        active=active,
        power=power,
        false_positives=false_positives,
    )


def _tail(h: Floats) -> Floats:
    """Phi(-h), with its digits far out."""
    return erfc(h / math.sqrt(2)) / 2


def _square(h: Floats) -> Floats:
    """E S(xi; h)^2."""
    return 2 * ((1 + h**2) * _tail(h) - h * pdf(h))


def _size(h: Floats) -> Floats:
    """E |S(xi; h)|."""
    return 2 * (pdf(h) - h * _tail(h))
