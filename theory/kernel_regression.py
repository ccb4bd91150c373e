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
| $n$ | `num_samples` | `()` | samples, $\ge 0$, a real number |
| $\delta$ | `ridge` | `()` | ridge, $\ge 0$; 0 is the interpolating limit |
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
not re-read. The tail as ridge, and the direction of Newton's method that always converges, are derived here [D].

Finite size. For kernels of random-feature attention ($d = 8$, 4 keys) the prediction is within 1 to 7 % of simulations for
$n = 16$ to 1024; for $e^{a t}$ on $\{-1, 1\}^d$ within 3 % at $d = 12$, 5 % at $d = 10$, and at $d = 8$, where samples repeat,
18 %. The root is found to rounding: 1e-13 relative in float64, but where $n - q$ nearly cancels (ridge 0 and $n$ close to the
number of modes). At ridge 0 and $n$ above the number of modes, $\kappa = 0$: least squares, with a test error of
$\sigma^2 n/(n - \text{rank})$.

Example. Without ridge the fit interpolates, and the learnabilities of the 100 modes add up to the number of samples:

>>> import jax.numpy as jnp
>>> from closedform.theory.harmonics import Spectrum
>>> from closedform.theory.kernel_regression import learning_curve
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
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float, Real

from .gaussian import as_floats
from .harmonics import Spectrum

Number = Real[ArrayLike, ""]


class LearningCurve(NamedTuple):
    """Kernel ridge regression at one number of samples; vmap over num_samples for the curve."""

    test: Float[Array, ""]  # mean square error on fresh noisy labels: noise included
    train: Float[Array, ""]  # mean square residual on the training labels
    kappa: Float[Array, ""]  # effective ridge
    learnability: Float[Array, "*mode"]  # L
    overfitting: Float[Array, ""]  # n/(n - q), test error over that with infinitely many samples at the same kappa


def learning_curve(
    num_samples: Number, ridge: Number, spectrum: Spectrum, power: Real[ArrayLike, "*mode"], noise: Number = 0.0
) -> LearningCurve:
    """Test and training error of kernel ridge regression with num_samples samples. Differentiable; vmap any argument.

    >>> ones = jnp.ones(1)
    >>> spectrum = Spectrum(ones, 50 * ones, 0.0)  # 50 features of variance 1, least squares: sigma^2 n/(n - 50)
    >>> round(float(learning_curve(100, 0.0, spectrum, ones, noise=0.25).test), 4)
    0.5
    """
    n, delta, sigma2, v, *rest = as_floats(num_samples, ridge, noise, power, *spectrum)
    eigenvalues, multiplicities, tail = check_spectrum(Spectrum(*rest), v)
    require_not_negative(num_samples=num_samples, ridge=ridge, noise=noise)
    some = jnp.where(n > 0, n, 1)
    kappa = effective_ridge(some, delta, Spectrum(eigenvalues, multiplicities, tail))
    # no samples: kappa is infinite, and n kappa the whole trace
    learned, left = (jnp.where(n > 0, part, none) for part, none in zip(shares(eigenvalues, kappa), (0, 1), strict=True))
    q = jnp.sum(multiplicities * learned**2)
    overfitting = some / (some - q)
    test = overfitting * (jnp.sum(v * left**2) + sigma2)
    trace = jnp.where(n > 0, some * kappa, jnp.sum(multiplicities * eigenvalues) + delta + tail)
    interpolates = trace == 0
    residual = delta / jnp.where(interpolates, 1, trace)
    residual = jnp.where(interpolates & (n > 0), 1 - jnp.sum(multiplicities * learned) / some, residual)
    return LearningCurve(test, residual**2 * test, jnp.where(n > 0, kappa, jnp.inf), learned, overfitting)


def effective_ridge(num_samples: Number, ridge: Number, spectrum: Spectrum) -> Float[Array, ""]:
    """kappa: the root of n = sum m lambda/(lambda + kappa) + (ridge + tail)/kappa, for n > 0.

    At ridge + tail = 0 the positive root where there is one, else 0.

    >>> spectrum = Spectrum(jnp.ones(1), jnp.full(1, 4.0), 0.0)
    >>> round(float(effective_ridge(2.0, 0.0, spectrum)), 6), float(effective_ridge(8.0, 0.0, spectrum))
    (1.0, 0.0)
    """
    n, delta, *rest = as_floats(num_samples, ridge, *spectrum)
    eigenvalues, multiplicities, tail = check_spectrum(Spectrum(*rest))
    delta = delta + tail

    def excess(kappa: Array) -> Array:
        return kappa * (n - jnp.sum(multiplicities * shares(eigenvalues, kappa)[0])) - delta

    def newton(kappa: Array) -> Array:
        learned, left = shares(eigenvalues, kappa)
        return (kappa * jnp.sum(multiplicities * learned * left) + delta) / (n - jnp.sum(multiplicities * learned**2))

    above = (jnp.sum(multiplicities * eigenvalues) + delta) / n
    return descend_to_root(excess, newton, above)


def rkhs_norm(power: Real[ArrayLike, "*mode"], eigenvalues: Real[ArrayLike, "*mode"]) -> Float[Array, ""]:
    """|f|^2 = sum power/lambda, the squared norm; modes without power do not count, and power at lambda = 0 makes it infinite.

    An eigenvalue that is zero by symmetry is rounding, about 1e-17, in a computed spectrum: the norm is then of order 1e17.

    >>> float(rkhs_norm(jnp.array([0.5, 0.5, 0.0]), jnp.array([2.0, 0.25, 0.0])))
    2.25
    """
    v, eigenvalue = as_floats(power, eigenvalues)
    present = v != 0
    return jnp.sum(jnp.where(present, v / jnp.where(present, eigenvalue, 1), 0))


# ------------------------------------------------------------------------------------------------ shared with its kin


def shares(eigenvalues: Float[Array, "*mode"], kappa: Float[Array, ""]) -> tuple[Float[Array, "*mode"], Float[Array, "*mode"]]:
    """lambda/(lambda + kappa) and kappa/(lambda + kappa): learned and left; a mode of lambda = kappa = 0 is left."""
    total = eigenvalues + kappa
    empty = total == 0
    safe = jnp.where(empty, 1, total)
    return eigenvalues / safe, jnp.where(empty, 1, kappa / safe)


def descend_to_root(excess_fn, newton_fn, above: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The root of a rising convex function, from a point `above` it, with the derivatives of the implicit function.

    Newton's method on a convex function stays above the root and falls towards it from anywhere above, so it needs no
    bracket; it ends where rounding stops the fall. `newton_fn` gives the next point without cancellation.
    """

    def solve(_, start: Array) -> Array:
        def falling(state: tuple) -> Array:
            point, after, steps = state
            return jnp.any(after < point * (1 - 4 * jnp.finfo(point.dtype).eps)) & (steps < 200)

        def step(state: tuple) -> tuple:
            _, point, steps = state
            after = newton_fn(point)
            # at a root of slope 0 (ridge 0, as many samples as modes) the slope ends as rounding, 0 or negative
            return point, jnp.where((after >= 0) & (after < jnp.inf), after, point), steps + 1

        return jax.lax.while_loop(falling, step, (jnp.full_like(start, jnp.inf), start, 0))[1]

    def tangent_solve(linear_fn, value: Array) -> Array:
        return value / linear_fn(jnp.ones_like(value))

    return jax.lax.custom_root(excess_fn, jax.lax.stop_gradient(above), solve, tangent_solve)


def check_spectrum(spectrum: Spectrum, power: Array | None = None) -> Spectrum:
    """The spectrum as it is. Raises ValueError if shapes of its arrays or of the power differ."""
    shapes = {name: jnp.shape(getattr(spectrum, name)) for name in ("eigenvalues", "multiplicities")}
    shapes |= {} if power is None else {"power": jnp.shape(power)}
    if len(set(shapes.values())) > 1:
        given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"eigenvalues, multiplicities and power must have one shape, that of the modes; got {given}")
    return spectrum


def require_not_negative(**arguments: ArrayLike) -> None:
    """Raises ValueError for an argument that is known, not traced, and negative or not a number."""
    for name, value in arguments.items():
        if not isinstance(value, Tracer) and not np.all(np.asarray(value) >= 0):
            raise ValueError(f"{name} must be at least 0, got {value}")


def require_positive(**arguments: ArrayLike) -> None:
    """Raises ValueError for an argument that is known, not traced, and not positive."""
    for name, value in arguments.items():
        if not isinstance(value, Tracer) and not np.all(np.asarray(value) > 0):
            raise ValueError(f"{name} must be positive, got {value}")
