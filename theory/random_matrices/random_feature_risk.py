r"""The risk of ridge regression on finitely many random features: double descent, peaked at as many features as samples.

Formula. $n$ samples, $k$ random features of a kernel with $m_j$ modes of eigenvalue $\lambda_j$ and tail $\tau$, ridge
$\delta$, a target of mean square $v_j$ on those modes, label noise $\sigma^2$. With $L = \lambda/(\lambda + \gamma)$,
$z = \sum m L + \tau/\gamma$, $q = \sum m L^2$, `risk` is

$$
\begin{align*}
n &= z + \frac{\delta}{\kappa}, \qquad k = z + \frac{k \kappa}{\gamma}: \qquad
    \gamma\, (n - z(\gamma)) \left(1 - \frac{z(\gamma)}{k}\right) = \delta \\
\text{test} &= \frac{\displaystyle
    \sum v \left[(1 - L) - \frac{\kappa \lambda}{(\lambda + \gamma)^2} \frac{k}{k - q}\right] + \sigma^2}
    {\displaystyle 1 - \frac{q (k - 2 z) + z^2}{n (k - q)}} \\
\text{train} &= \left(\frac{\delta}{n \kappa}\right)^2 \text{test}
\end{align*}
$$

Regime. $n$ and $k \to \infty$ at fixed ratios, modes and features that behave as independent Gaussians: features iid with the
given covariance. $k = \infty$ is allowed and is kernel ridge regression.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $n$, $k$ | `num_samples`, `num_features` | `()` | samples; features (real numbers) |
| $\delta$ | `ridge` | `()` | ridge, $\ge 0$ |
| $\lambda$, $m$, $\tau$ | `spectrum` | `mode`, `()` | of the kernel (see `kernels.spectrum`) |
| $v$ | `power` | `mode` | target's mean square by mode |
| $\sigma^2$ | `noise_variance` | `()` | variance of the label noise |
| $\kappa$, $\gamma$ | `Risk.kappa`, `Risk.gamma` | `()` | effective ridges: of the samples; of samples and features |

Factors. Features carry $1/\sqrt{k}$, so that the kernel is their limit; the ridge is not divided by $n$. The test error is that
on noisy labels. The tail is part of $z$: adding it to the ridge would ignore that its modes need features too.

Source. J. Simon, D. Karkada, N. Ghosh, M. Belkin, arXiv 2311.14646, checked against its public code; proved for general
features by L. Defilippis, B. Loureiro, T. Misiakiewicz, arXiv 2405.15699. Recalled, bodies not re-read. Derived here: the tail,
the forms without cancellation, the methods.

Finite size. With $k = M d$ against heads of random-feature attention without augmentation ($d = 8$, 4 keys): mostly within 5 %,
at worst 9 %. Near the peak ($k$ close to $n$, small ridge) single draws scatter widely. At ridge 0 the limit of small ridges is
returned, if the modes outnumber samples and features; it is infinite where samples and features are equally many.

Example. Double descent: with little ridge the test error peaks where there are as many features as the 100 samples.

>>> import jax.numpy as jnp
>>> from closedform.theory.kernels.spectrum import Spectrum
>>> from closedform.theory.random_matrices.random_feature_risk import risk
>>> spectrum = Spectrum(jnp.array([1.0, 0.1]), jnp.array([10.0, 1000.0]), 0.0)
>>> power, noise = jnp.array([1.0, 0.0]), 0.1
>>> curve = [risk(100, k, 0.1, spectrum, power, noise) for k in (25, 50, 100, 200, 400, jnp.inf)]
>>> [round(float(one.test), 1) for one in curve]
[1.2, 1.5, 9.4, 1.0, 0.6, 0.4]
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..kernels.ridge_equation import balanced_trace, in_units, infinite_or, left_over, rates, smallest_ridge, zero_or
from ..kernels.spectrum import LEGAL, Spectrum
from ..numerics.arguments import ArrayLike, above, at_least, takes

Number = Real[ArrayLike, ""]
NOT_NEGATIVE = at_least(0, finite=True)


@documented
class Risk(NamedTuple):
    """Ridge regression on random features, averaged over data, noise and features."""

    test: Float[Array, ""]  # mean square error on fresh noisy labels: noise included
    train: Float[Array, ""]  # mean square residual on the training labels
    kappa: Float[Array, ""]  # effective ridge of the samples: train/test = (ridge/(n kappa))^2
    gamma: Float[Array, "*group"]  # kappa/w >= kappa: a mode is learned if lambda >> gamma; of each group


@takes(
    num_samples=at_least(0),
    num_features=above(0),
    ridge=at_least(0),
    spectrum=LEGAL,
    power=NOT_NEGATIVE,
    noise_variance=NOT_NEGATIVE,
)
def risk(
    num_samples: Number,
    num_features: Number,
    ridge: Number,
    spectrum: Spectrum,
    power: Real[ArrayLike, "*mode"],
    noise_variance: Number = 0.0,
) -> Risk:
    """Errors of ridge regression on num_features independent features. Differentiable; vmap any argument.

    >>> spectrum = Spectrum(jnp.ones(1), jnp.full(1, 1e6), 0.0)  # so many modes that nothing is learned
    >>> [round(float(risk(100, k, 0.0, spectrum, jnp.ones(1)).test), 3) for k in (50, 100, 200)]  # n/(n - k), k/(k - n)
    [2.0, inf, 2.0]
    """
    unit, n, delta, modes = in_units(num_samples, ridge, spectrum)
    m, far, finite = modes.multiplicities, delta == 0, jnp.isfinite(num_features)
    some_n, k = jnp.where(n > 0, n, 1), jnp.where(finite, num_features, 1)
    # per sample or per feature, of whichever there are fewer, p: then z = p y, n = p/a and k = p/b
    fewer = n <= num_features
    p, a, a_rest = jnp.where(fewer, n, k), jnp.where(fewer, 1, k / some_n), jnp.where(fewer, 0, (some_n - k) / some_n)
    b = jnp.where(fewer, jnp.where(finite, n / k, 0), 1)
    b_rest = jnp.where(fewer, jnp.where(finite, (k - n) / k, 1), 0)
    free = delta * a + smallest_ridge(n)
    trace = balanced_trace(p, free, modes, (a, a_rest), (b, b_rest))  # p gamma
    rate, left = rates(p, modes, trace)
    spread = jnp.sum(m * rate * left) + modes.tail / trace  # (z - q)/p
    u, w = _left_over(p, free, modes, trace, (a, a_rest), (b, b_rest), fewer)  # (n - z)/n, (k - z)/k
    rest_features = w + b * spread  # 1 - q/k
    bias = jnp.sum(power * (left**2 + left * p * rate * (b * spread / rest_features)))
    # [(n - q)(k - q) - (z - q)^2]/(n (k - q)), all of whose terms are positive
    test = (bias + noise_variance) / (u + a * spread * (w / rest_features))
    everything = jnp.isinf(num_samples)
    return at_the_ends(
        num_samples,
        ridge,
        infinite_or(far, test, jnp.sum(power) + noise_variance),
        zero_or(far, u) ** 2 * test,
        unit * zero_or(far, trace * w) / jnp.where(p > 0, p, 1),
        jnp.where(everything & ~finite, 0, unit * zero_or(far | everything, trace) / jnp.where(p > 0, p, 1)),
    )


def _left_over(p: Array, free: Array, modes: Spectrum, trace: Array, a: tuple, b: tuple, fewer: Array) -> tuple[Array, Array]:
    """u = (n - z)/n and w = (k - z)/k, whose product is free/trace: computed directly where exact, else from the product."""
    rest, subtracted = left_over(p, modes, trace)
    h, subtracted = rest - modes.tail / trace, subtracted + modes.tail / trace
    # the smaller one, s, and the other, r + b s
    fixed, slope = jnp.where(fewer, b[1], a[1]), jnp.where(fewer, b[0], a[0])
    small = 2 * free / trace / (fixed + jnp.sqrt(fixed**2 + 4 * slope * free / trace))
    large = fixed + slope * small
    direct = subtracted <= h
    u = jnp.where(direct, a[0] * h + a[1], jnp.where(fewer, small, large))
    w = jnp.where(direct, b[0] * h + b[1], jnp.where(fewer, large, small))
    return u, w


def at_the_ends(num_samples: Array, ridge: Array, test: Array, train: Array, kappa: Array, gamma: Array) -> Risk:
    """The risk, with exact effective ridges for no samples, an infinite ridge and infinitely many samples."""
    none = (num_samples == 0) | jnp.isinf(ridge)
    kappa = jnp.where(none, jnp.inf, jnp.where(jnp.isinf(num_samples), 0, kappa))
    return Risk(test, train, kappa, jnp.where(none, jnp.inf, gamma))
