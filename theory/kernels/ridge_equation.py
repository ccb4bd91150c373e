r"""The self-consistent equation that sets the effective ridge of kernels and of random features, solved without cancellation.

Formula. With $L_j = \lambda_j/(\lambda_j + \kappa)$ of $m_j$ modes each, a tail $\tau$, $n$ samples and ridge $\delta$, the
effective ridge $\kappa$ of kernel regression is found as $g = n \kappa$, which is regular at $n = 0$:

$$
\begin{align*}
h &= 1 - \frac{1}{n} \left[\sum_j m_j L_j + \frac{\tau}{\kappa}\right], \qquad L_j = \frac{n \lambda_j}{n \lambda_j + g} \\
g\, h &= \delta
\end{align*}
$$

With $p = \min(n, k)$ in place of $n$, $k$ random features add a second factor:

$$
\begin{align*}
g\, u\, w &= \delta, \qquad u = a h + (1 - a), \qquad w = b h + (1 - b)
\end{align*}
$$

where $u$ and $w$ are the fractions of samples and of features that the modes do not use up, and $a = p/n$, $b = p/k$.

Regime. Ridge above 0; `smallest_ridge` gives the limit of ridge 0. All quantities are in units of the kernel's trace
(`in_units`).

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\lambda$, $m$, $\tau$ | `spectrum` | `mode`, `()` | of the kernel (see `spectrum`) |
| $n$ or $p$ | `size` | `()` | samples, or the fewer of samples and features |
| $g$ | `trace`; `balanced_trace` | `()` | size times effective ridge |
| $L/n$, $1 - L$ | `rates` | `mode` | learned per sample, and not learned |
| $h$ without the tail | `left_over`, `unlearned` | `()` | fraction of the samples that the modes do not use up |
| $\delta$ | `ridge` | `()` | ridge |

Factors. The ridge is not divided by $n$.

Source. The equations are those of `kernel_regression` and `random_feature_risk`, with their sources. The unknown $n \kappa$,
the forms without cancellation and the direction of Newton's method that always converges are derived here.

Finite size. The root is found to rounding: 1e-13 relative in float64. At ridge 0 the limit of small ridges is returned, far
more exactly than the dtype can show; slopes there are one-sided, from above, and an arbitrary number where they are infinite.

Example. Two samples on four modes of eigenvalue 1, with no ridge to speak of: half of each mode is learned, at $\kappa = 1$.

>>> import jax.numpy as jnp
>>> from closedform.theory.kernels.ridge_equation import balanced_trace
>>> from closedform.theory.kernels.spectrum import Spectrum
>>> spectrum = Spectrum(jnp.ones(1), jnp.full(1, 4.0), jnp.zeros(()))
>>> round(float(balanced_trace(jnp.array(2.0), jnp.array(1e-12), spectrum)) / 2, 5)
1.0
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..numerics.roots import descend_to_root
from .spectrum import Spectrum


def smallest_ridge(like: Array) -> float:
    """The ridge, in units of the kernel's trace, that stands for ridge 0: its results are the limit far below rounding.

    eps^5 is 6e-79 in float64, 2e-35 in float32. Where samples, features and modes are equally many the limit is approached as
    the third root of the ridge, and even that root is below rounding.
    """
    return float(jnp.finfo(like.dtype).eps) ** 5


def at_least_ridge(ridge: Array, least: float) -> Array:
    """The ridge, or `least` where it is smaller: with a slope of 1 there too."""
    return ridge + jax.lax.stop_gradient(jnp.maximum(least - ridge, 0))


def zero_or(far: Array, value: Array, least: Array | float | None = None) -> Array:
    """The value, but 0 with its slope if it is below `least` at ridge 0 (`far` true): for values that vanish with the ridge."""
    limit = smallest_ridge(value) ** 0.3 if least is None else least
    return jnp.where(far & (value < limit), value - jax.lax.stop_gradient(value), value)


def infinite_or(far: Array, value: Array, total: Array, least: float | None = None) -> Array:
    """The value, but infinity if above total/least at ridge 0 (`far` true): for values that diverge as the ridge vanishes."""
    limit = smallest_ridge(value) ** 0.25 if least is None else least
    return jnp.where(far & (value * limit > total), jnp.inf, value)


def in_units(num_samples: Array, ridge: Array, spectrum: Spectrum) -> tuple[Array, Array, Array, Spectrum]:
    """The kernel's trace, and n, ridge and spectrum in units in which the trace is 1.

    An infinite n or ridge becomes finite, but so large that the difference is below rounding.
    """
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
    """1 - sum m L/size, and the sum in it that is subtracted: modes with L > 1/2 are counted instead, and 1 - L added."""
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
    """g = size kappa, for a trace and a ridge above 0: the root of g u w = ridge; u, w are unused fractions.

    With h = 1 - (sum m L + size tail/g)/size, L = size lambda/(size lambda + g), the unused fractions of samples and of
    features are u = a h + a' and w = b h + b' for (a, a') = `samples` and (b, b') = `features`, pairs of sum 1. The default is
    kernel regression on `size` samples.
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
