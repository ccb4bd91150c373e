r"""The learning curve of kernel ridge regression, from the eigenvalues of the kernel and the target's power in its modes.

Formula. $n$ samples, ridge $\delta$, a kernel with $m_j$ modes of eigenvalue $\lambda_j$ and a further trace $\tau$ in the
tail, a target of mean square $v_j$ on those modes, and noise of variance $\sigma^2$ on the labels:

$$
\begin{align*}
n &= \sum_j m_j L_j + \frac{\delta + \tau}{\kappa}, \qquad L_j = \frac{\lambda_j}{\lambda_j + \kappa},
    \qquad q = \sum_j m_j L_j^2 \\
\text{test} &= \frac{n}{n - q} \left[\sum_j v_j (1 - L_j)^2 + \sigma^2\right] \\
\text{train} &= \left(\frac{\delta}{n \kappa}\right)^2 \text{test} \\
|f|^2 &= \sum_j \frac{v_j}{\lambda_j}
\end{align*}
$$

$|f|^2$ is the squared norm of the target in the space of the kernel. $L_j$ is the fraction of a mode's coefficient that is
learned. The learnabilities sum to at most $n$, $\sum_j m_j L_j \le n$: the modes share the samples.

Regime. $n \to \infty$ with $n$, $\sum m L$, and $\delta/\kappa$ of one order, for modes that behave as independent Gaussian
features. Exact for those in the limit; found to hold within a few per cent for real kernels from $n$ of about 10 on.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $n$ | `num_samples` | `()` | samples, a real number from 0 to infinity |
| $\delta$ | `ridge` | `()` | ridge, from 0 to infinity; 0 is the limit of small ones, infinity learns nothing |
| $\lambda$, $m$ | `spectrum` | `mode` | eigenvalues and multiplicities of the kernel (see `harmonics`) |
| $\tau$ | `spectrum.tail` | `()` | trace of the modes left out, which acts as a ridge on the others |
| $v$ | `power` | `mode` | mean square of the target on all modes of one eigenvalue |
| $\sigma^2$ | `noise_variance` | `()` | variance of the label noise |
| $\kappa$ | `kappa` | `()` | effective ridge: modes far above it are learned |
| $L$ | `learnability` | `mode` | $\mathbb{E}$ of the learned coefficient over the true one |
| $E_0 = n/(n - q)$ | `overfitting` | `()` | overfitting coefficient, $\ge 1$ |

Factors. The fit is $(K + \delta I)^{-1} y$: $\delta$ is not divided by $n$. The test error is that on noisy labels, so it
includes $\sigma^2$ (at $n = 0$ it is the total power plus $\sigma^2$). A target's power outside of the given modes adds to
$\sigma^2$.

Source. Eigenlearning, J. Simon, M. Dickens, D. Karkada, M. DeWeese, TMLR 2023, arXiv 2110.03922; the same as A. Canatar, B.
Bordelon, C. Pehlevan, Nature Communications 2021, arXiv 2006.13198. Formulas recalled, checked against public code; body
not re-read. The tail as ridge is derived here, and so is the way to the root (see `ridge_equation`).

Finite size. For kernels of random-feature attention ($d = 8$, 4 keys) the prediction is within 1 to 7 % of simulations for
$n = 16$ to 1024; for $e^{a t}$ on $\{-1, 1\}^d$ within 3 % at $d = 12$, 5 % at $d = 10$, and at $d = 8$, where samples repeat,
18 %. The root is found to rounding: 1e-13 relative in float64, times $n/(n - q)$ where that is large. At ridge 0 and $n$ above
the number of modes, $\kappa = 0$: least squares, with a test error of $\sigma^2 n/(n - \text{rank})$, infinite at $n$ equal to
the number of modes. Slopes at ridge 0 are one-sided, from above; where they are infinite, an arbitrary number is returned.

Example. Without ridge the fit interpolates, and the learnabilities of the 100 modes add up to the number of samples:

>>> import jax.numpy as jnp
>>> from closedform.theory.kernels.spectrum import Spectrum
>>> from closedform.theory.kernels.kernel_regression import learning_curve
>>> spectrum = Spectrum(jnp.array([1.0, 0.1]), jnp.array([10.0, 90.0]), 0.0)
>>> curve = learning_curve(20, 0.0, spectrum, jnp.array([0.5, 0.5]))
>>> round(float(spectrum.multiplicities @ curve.learnability), 3), float(curve.train)
(20.0, 0.0)
>>> [round(float(learned), 2) for learned in curve.learnability]
[0.64, 0.15]
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import ArrayLike, at_least, takes
from .ridge_equation import balanced_trace, in_units, infinite_or, rates, smallest_ridge, unlearned, zero_or
from .spectrum import LEGAL, Spectrum

Number = Real[ArrayLike, ""]


@documented
class LearningCurve(NamedTuple):
    """Kernel ridge regression at one number of samples; vmap over num_samples for the curve."""

    test: Float[Array, ""]  # mean square error on fresh noisy labels: noise included
    train: Float[Array, ""]  # mean square residual on the training labels
    kappa: Float[Array, ""]  # effective ridge
    learnability: Float[Array, "*mode"]  # L
    overfitting: Float[Array, ""]  # n/(n - q), test error over the test error of infinitely many samples at the same kappa


@takes(
    num_samples=at_least(0),
    ridge=at_least(0),
    spectrum=LEGAL,
    power=at_least(0, finite=True),
    noise_variance=at_least(0, finite=True),
)
def learning_curve(
    num_samples: Number, ridge: Number, spectrum: Spectrum, power: Real[ArrayLike, "*mode"], noise_variance: Number = 0.0
) -> LearningCurve:
    """Test and training error of kernel ridge regression with num_samples samples. Differentiable; vmap any argument.

    >>> ones = jnp.ones(1)
    >>> spectrum = Spectrum(ones, 50 * ones, 0.0)  # 50 features of variance 1, least squares: sigma^2 n/(n - 50)
    >>> [round(float(learning_curve(n, 0.0, spectrum, ones, noise_variance=0.25).test), 4) for n in (50, 100, jnp.inf)]
    [inf, 0.5, 0.25]
    """
    unit, n, delta, modes = in_units(num_samples, ridge, spectrum)
    free, far = delta + smallest_ridge(n), delta == 0
    trace = balanced_trace(n, free, modes)
    rate, left = rates(n, modes, trace)
    beyond = unlearned(n, free + modes.tail, modes, trace)
    # (n - q)/n = sum m L (1 - L)/n + 1 - sum m L/n: its terms are positive
    fraction = jnp.sum(modes.multiplicities * rate * left) + beyond
    total = jnp.sum(power) + noise_variance
    test = (jnp.sum(power * left**2) + noise_variance) / fraction
    residual = zero_or(far, beyond * (free / (free + modes.tail)))
    return LearningCurve(
        infinite_or(far, test, total),
        residual**2 * test,
        _kappa(num_samples, ridge, unit, n, far, trace),
        jnp.where(jnp.isinf(ridge), 0, n * rate),
        infinite_or(far, 1 / fraction, jnp.ones_like(n)),
    )


@takes(num_samples=at_least(0), ridge=at_least(0), spectrum=LEGAL)
def effective_ridge(num_samples: Number, ridge: Number, spectrum: Spectrum) -> Float[Array, ""]:
    """kappa: the root of n = sum m lambda/(lambda + kappa) + (ridge + tail)/kappa.

    At ridge + tail = 0 the positive root where there is one, else 0. Infinite at n = 0.

    >>> spectrum = Spectrum(jnp.ones(1), jnp.full(1, 4.0), 0.0)
    >>> round(float(effective_ridge(2.0, 0.0, spectrum)), 6), float(effective_ridge(8.0, 0.0, spectrum))
    (1.0, 0.0)
    """
    unit, n, delta, modes = in_units(num_samples, ridge, spectrum)
    trace = balanced_trace(n, delta + smallest_ridge(n), modes)
    return _kappa(num_samples, ridge, unit, n, delta == 0, trace)


def _kappa(num_samples: Array, ridge: Array, unit: Array, n: Array, far: Array, trace: Array) -> Array:
    kappa = jnp.where(jnp.isinf(num_samples), 0, unit * zero_or(far, trace) / jnp.where(n > 0, n, 1))
    return jnp.where((num_samples == 0) | jnp.isinf(ridge), jnp.inf, kappa)


@takes(power=at_least(0, finite=True), eigenvalues=at_least(0, finite=True))
def rkhs_norm(power: Real[ArrayLike, "*mode"], eigenvalues: Real[ArrayLike, "*mode"]) -> Float[Array, ""]:
    """|f|^2 = sum power/lambda, the squared norm; modes without power do not count, and power at lambda = 0 makes it infinite.

    A mode counts as without power if its power and its eigenvalue are both rounding: at most 8 eps of the total power, and of
    the largest eigenvalue. Symmetry makes such modes: power and eigenvalue are 0, but computed as 1e-17 or so.

    >>> float(rkhs_norm(jnp.array([0.5, 0.5, 1e-19, 0.0]), jnp.array([2.0, 0.25, 1e-20, 0.0])))
    2.25
    """
    small = 8 * jnp.finfo(power.dtype).eps
    rounding = (power <= small * jnp.sum(power)) & (eigenvalues <= small * jnp.max(eigenvalues, initial=0))
    return jnp.sum(jnp.where(rounding, 0, power / jnp.where(rounding, 1, eigenvalues)))
