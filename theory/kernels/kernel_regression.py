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

The last one is the squared norm of the target in the space of the kernel. $L_j$ is the fraction of a mode's coefficient that
is learned. $n$ counts out among the modes: $\sum_j m_j L_j \le n$.

Regime. $n \to \infty$ with $n$, $\sum m L$, and $\delta/\kappa$ of one order, for modes that behave as independent Gaussian
features. Exact for those in the limit; found to hold within a few per cent for real kernels from $n$ of about 10 on.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $n$ | `num_samples` | `()` | samples, a real number from 0 to infinity |
| $\delta$ | `ridge` | `()` | ridge, from 0 to infinity; 0 is the limit of small ones, infinity learns nothing |
| $\lambda$, $m$ | `spectrum` | `mode` | eigenvalues and multiplicities of the kernel (see `harmonics`) |
| $\tau$ | `spectrum.tail` | `()` | trace of the modes left out: a ridge to the others |
| $v$ | `power` | `mode` | mean square of the target on all modes of one eigenvalue |
| $\sigma^2$ | `noise` | `()` | variance of the label noise |
| $\kappa$ | `kappa` | `()` | effective ridge: modes far above it are learned |
| $L$ | `learnability` | `mode` | $\mathbb{E}$ of the learned coefficient over the true one |
| $E_0 = n/(n - q)$ | `overfitting` | `()` | overfitting coefficient, $\ge 1$ |

Factors. The fit is $(K + \delta I)^{-1} y$: $\delta$ is not divided by $n$. The test error is that on noisy labels, so it
includes $\sigma^2$ (at $n = 0$ it is the total power plus $\sigma^2$). A target's power outside of the given modes adds to
$\sigma^2$.

Source. Eigenlearning, J. Simon, M. Dickens, D. Karkada, M. DeWeese, TMLR 2023, arXiv 2110.03922; the same as A. Canatar, B.
Bordelon, C. Pehlevan, Nature Communications 2021, arXiv 2006.13198. Formulas recalled, checked against public code [C]; body
not re-read. The tail as ridge, the unknown $n \kappa$ (regular at $n = 0$), and the direction of Newton's method that always
converges, are derived here [D].

Finite size. For kernels of random-feature attention ($d = 8$, 4 keys) the prediction is within 1 to 7 % of simulations for
$n = 16$ to 1024; for $e^{a t}$ on $\{-1, 1\}^d$ within 3 % at $d = 12$, 5 % at $d = 10$, and at $d = 8$, where samples repeat,
18 %. The root is found to rounding: 1e-13 relative in float64, times $n/(n - q)$ where that is large. At ridge 0 and $n$ above
the number of modes, $\kappa = 0$: least squares, with a test error of $\sigma^2 n/(n - \text{rank})$, infinite at $n$ equal to
the number of modes. Slopes at ridge 0 are those from above; where they are infinite, what is returned for them is any number.

Example. Without ridge the fit interpolates, and the learnabilities of the 100 modes add up to the number of samples:

>>> import jax.numpy as jnp
>>> from closedform.theory.kernels.harmonics import Spectrum
>>> from closedform.theory.kernels.kernel_regression import learning_curve
>>> spectrum = Spectrum(jnp.array([1.0, 0.1]), jnp.array([10.0, 90.0]), 0.0)
>>> curve = learning_curve(20, 0.0, spectrum, jnp.array([0.5, 0.5]))
>>> round(float(spectrum.multiplicities @ curve.learnability), 3), float(curve.train)
(20.0, 0.0)
>>> [round(float(learned), 2) for learned in curve.learnability]
[0.64, 0.15]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import ArrayLike, at_least, each, takes
from .harmonics import Spectrum

Number = Real[ArrayLike, ""]
# legal values of a kernel's spectrum
POSITIVE = each(Spectrum, *3 * [at_least(0, finite=True)])


class LearningCurve(NamedTuple):
    """Kernel ridge regression at one number of samples; vmap over num_samples for the curve."""

    test: Float[Array, ""]  # mean square error on fresh noisy labels: noise included
    train: Float[Array, ""]  # mean square residual on the training labels
    kappa: Float[Array, ""]  # effective ridge
    learnability: Float[Array, "*mode"]  # L
    overfitting: Float[Array, ""]  # n/(n - q), test error over that with infinitely many samples at the same kappa


@takes(
    num_samples=at_least(0),
    ridge=at_least(0),
    spectrum=POSITIVE,
    power=at_least(0, finite=True),
    noise=at_least(0, finite=True),
)
def learning_curve(
    num_samples: Number, ridge: Number, spectrum: Spectrum, power: Real[ArrayLike, "*mode"], noise: Number = 0.0
) -> LearningCurve:
    """Test and training error of kernel ridge regression with num_samples samples. Differentiable; vmap any argument.

    >>> ones = jnp.ones(1)
    >>> spectrum = Spectrum(ones, 50 * ones, 0.0)  # 50 features of variance 1, least squares: sigma^2 n/(n - 50)
    >>> [round(float(learning_curve(n, 0.0, spectrum, ones, noise=0.25).test), 4) for n in (50, 100, jnp.inf)]
    [inf, 0.5, 0.25]
    """
    unit, n, delta, modes = in_units(num_samples, ridge, spectrum)
    free, far = delta + smallest_ridge(n), delta == 0
    trace = balanced_trace(n, free, modes)
    rate, left = rates(n, modes, trace)
    beyond = unlearned(n, free + modes.tail, modes, trace)
    # (n - q)/n = sum m L (1 - L)/n + 1 - sum m L/n: its terms are positive
    fraction = jnp.sum(modes.multiplicities * rate * left) + beyond
    total = jnp.sum(power) + noise
    test = (jnp.sum(power * left**2) + noise) / fraction
    residual = zero_or(far, beyond * (free / (free + modes.tail)))
    return LearningCurve(
        infinite_or(far, test, total),
        residual**2 * test,
        _kappa(num_samples, ridge, unit, n, far, trace),
        jnp.where(jnp.isinf(ridge), 0, n * rate),
        infinite_or(far, 1 / fraction, jnp.ones_like(n)),
    )


@takes(num_samples=at_least(0), ridge=at_least(0), spectrum=POSITIVE)
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
    the largest eigenvalue. Symmetry makes such modes: computed, they hold 1e-17 or so where both are 0.

    >>> float(rkhs_norm(jnp.array([0.5, 0.5, 1e-19, 0.0]), jnp.array([2.0, 0.25, 1e-20, 0.0])))
    2.25
    """
    small = 8 * jnp.finfo(power.dtype).eps
    rounding = (power <= small * jnp.sum(power)) & (eigenvalues <= small * jnp.max(eigenvalues, initial=0))
    return jnp.sum(jnp.where(rounding, 0, power / jnp.where(rounding, 1, eigenvalues)))


# ------------------------------------------------------------------------------------------------ shared with its kin


def smallest_ridge(like: Array) -> float:
    """In units of the kernel's trace: ridge 0 is computed as this one, the limit to far more digits than are kept.

    eps^5 is 6e-79 in float64, 2e-35 in float32: even its third root, by which the limit is approached where samples, features
    and modes are equally many, is below all that rounding can tell from 0.
    """
    return float(jnp.finfo(like.dtype).eps) ** 5


def zero_or(far: Array, value: Array, least: Array | float | None = None) -> Array:
    """0, with its slope, for what at ridge 0 (where `far` is true) goes to 0 with the ridge: values below `least`."""
    limit = smallest_ridge(value) ** 0.3 if least is None else least
    return jnp.where(far & (value < limit), value - jax.lax.stop_gradient(value), value)


def infinite_or(far: Array, value: Array, total: Array, least: float | None = None) -> Array:
    """Infinity for what at ridge 0 (where `far` is true) grows without bound: values above total/least."""
    limit = smallest_ridge(value) ** 0.25 if least is None else least
    return jnp.where(far & (value * limit > total), jnp.inf, value)


def in_units(num_samples: Array, ridge: Array, spectrum: Spectrum) -> tuple[Array, Array, Array, Spectrum]:
    """The kernel's trace; n, ridge and spectrum for a kernel of trace 1, n and ridge finite: infinite ones have become so large
    that nothing is left of the difference."""
    trace = jax.lax.stop_gradient(jnp.sum(spectrum.multiplicities * spectrum.eigenvalues) + spectrum.tail)
    unit = jnp.where(trace > 0, trace, 1)
    large = 1 / smallest_ridge(unit)
    fixed = jnp.isinf(ridge)  # nothing is learned, by however many samples
    n = jnp.where(fixed, 1, jnp.where(jnp.isinf(num_samples), large, num_samples))
    delta = jnp.where(fixed, large, jnp.where(fixed, 1, ridge) / unit)
    return unit, n, delta, Spectrum(spectrum.eigenvalues / unit, spectrum.multiplicities, spectrum.tail / unit)


def rates(size: Array, spectrum: Spectrum, trace: Array) -> tuple[Array, Array]:
    """L/size and 1 - L, for L = size lambda/(size lambda + trace)."""
    total = size * spectrum.eigenvalues + trace
    return spectrum.eigenvalues / total, trace / total


def left_over(size: Array, spectrum: Spectrum, trace: Array) -> tuple[Array, Array]:
    """1 - sum m L/size; and of it what is subtracted. Modes that are learned, L > 1/2, are counted."""
    rate, left = rates(size, spectrum, trace)
    some, learned = jnp.where(size > 0, size, 1), size * spectrum.eigenvalues > trace
    count = jnp.sum(jnp.where(learned, spectrum.multiplicities, 0))
    subtracted = jnp.sum(jnp.where(learned, 0, spectrum.multiplicities * rate))
    added = jnp.sum(jnp.where(learned, spectrum.multiplicities * left / some, 0))
    return jnp.where(size > 0, (size - count) / some, 1) + added - subtracted, subtracted


def unlearned(size: Array, ridge: Array, spectrum: Spectrum, trace: Array) -> Array:
    """1 - sum m L/size, which is ridge/trace, by the one of the two forms that keeps digits and slopes as both go to 0."""
    rest, subtracted = left_over(size, spectrum, trace)
    return jnp.where(subtracted <= rest, rest, ridge / trace)


@jax.jit  # for calls from outside of jit: one program for all
def balanced_trace(
    size: Array,
    ridge: Array,
    spectrum: Spectrum,
    samples: tuple[Array | float, Array | float] = (1.0, 0.0),
    features: tuple[Array | float, Array | float] = (0.0, 1.0),
) -> Array:
    """g = size kappa, for a trace and a ridge above 0: the root of g u w = ridge; u, w are left of samples and features.

    With h = 1 - (sum m L + size tail/g)/size, L = size lambda/(size lambda + g), they are u = a h + a' and w = b h + b' for
    (a, a') = `samples` and (b, b') = `features`, pairs of sum 1. The default is kernel regression on `size` samples.
    """
    (a, a_rest), (b, b_rest) = samples, features
    eigenvalues, multiplicities, tail = spectrum

    def left_of(trace: Array) -> tuple[Array, Array]:
        h = left_over(size, spectrum, trace)[0] - tail / trace
        return a * h + a_rest, b * h + b_rest

    def excess(trace: Array) -> Array:
        u, w = left_of(trace)
        return trace * u * w - ridge

    def newton(trace: Array) -> Array:
        u, w = left_of(trace)
        rate, left = rates(size, spectrum, trace)
        spread = (jnp.sum(multiplicities * rate * left) + tail / trace) * (a * w + b * u)  # -g d(u w)/dg
        return (trace * spread + ridge) / (u * w + spread)

    # h >= 1 - 1/g: the excess is not negative at g = 2 + 2 ridge, as (g - 1)^2 >= ridge g there; it is convex above its root
    return descend_to_root(excess, newton, 2 * (jnp.sum(multiplicities * eigenvalues) + tail) + 2 * ridge)


def descend_to_root(excess_fn, newton_fn, above: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The root of a rising convex function, from a point `above` it, with the derivatives of the implicit function.

    Newton's method on a convex function stays above the root and falls towards it from anywhere above, so it needs no
    bracket; it ends where rounding stops the fall. `newton_fn` gives the next point without cancellation.
    """

    def solve(_, start: Array) -> Array:
        def falling(state: tuple) -> Array:
            point, after, steps = state
            # a double root is approached by halving: at most 2200 halvings lie between the largest and the smallest number
            return jnp.any(after < point * (1 - 4 * jnp.finfo(point.dtype).eps)) & (steps < 2200)

        def step(state: tuple) -> tuple:
            _, point, steps = state
            after = newton_fn(point)
            # at a root of slope 0 (ridge 0, as many samples as modes) the slope ends as rounding, 0 or negative
            return point, jnp.where((after >= 0) & (after < jnp.inf), after, point), steps + 1

        return jax.lax.while_loop(falling, step, (jnp.full_like(start, jnp.inf), start, 0))[1]

    def tangent_solve(linear_fn, value: Array) -> Array:
        slope = linear_fn(jnp.ones_like(value))
        return value / jnp.where(slope == 0, jnp.inf, slope)

    return jax.lax.custom_root(excess_fn, jax.lax.stop_gradient(above), solve, tangent_solve)
