r"""The learning curve of quadratic regression holds for inputs on a sphere; fluctuating norms break it for Gaussian inputs.

Kernel ridge regression with the kernel $(x \cdot x')^2$: what a bilinear layer learns with its hidden layer fixed and wide.

$$
\begin{align*}
n &= \sum_j m_j L_j + \frac{\delta}{\kappa}, \qquad L_j = \frac{\lambda_j}{\lambda_j + \kappa} \\
\text{test} &= \frac{n}{n - \sum_j m_j L_j^2} \left[ \sum_j v_j (1 - L_j)^2 + \sigma^2 \right], \qquad
\text{train} = \left( \frac{\delta}{n \kappa} \right)^2 \, \text{test}
\end{align*}
$$

with $n$ examples, $\delta$ (`ridge`), $\sigma^2$ (`noise_variance`), $\kappa$ the root of the first equation; the kernel has
the eigenvalues $\lambda_j = d$ and $2d/(d + 2)$ of multiplicity $m_j = 1$ and $(d - 1)(d + 2)/2$, the target $Q$ (`spectrum`)
the power $v_j = (\operatorname{tr} Q)^2$ and $\frac{2d}{d + 2} \|Q_0\|^2$ in their modes, $Q_0$ being its part without trace.

Source: learning curve of kernel ridge regression, Simon et al., arXiv 2110.03922; spectrum of the kernel derived here
Cost: 10 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, Positive, Precision, Tolerance, check
from ...solvers import ridge
from ...theory.kernels import kernel_regression
from ...theory.random_matrices import bilinear_spectra
from . import _population


@dataclass(frozen=True)
class Config:
    spectrum: _population.Spectrum = (1.0, 0.5, -0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # eigenvalues of the target
    num_samples: Annotated[tuple[Count, ...], MinLen(1), Distinct] = (20, 40, 80, 160, 320)  # training examples n, nested
    ridge: Positive = 1.0  # weight delta of the squared norm, not divided by the number of samples
    noise_variance: NonNegative = 0.1  # variance of the noise on the labels
    num_test: Count = 2000  # fresh examples on which the error is measured
    dtype: Precision = "float64"  # the systems are ill conditioned

    def __post_init__(self):
        check(self)


class Result(NamedTuple):
    """Mean square errors, noise included."""

    test: Float[Array, "samples"]  # on the sphere of radius sqrt(dim)
    train: Float[Array, "samples"]  # residual on the noisy training labels there
    gaussian: Float[Array, "samples"] | None = None  # test error on Gaussian inputs


def labels(config: Config) -> dict[str, tuple]:
    return {"samples": config.num_samples}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key_x, key_noise = jax.random.split(key)
    most, dim = max(config.num_samples), len(config.spectrum)
    gaussian = jax.random.normal(key_x, (most + config.num_test, dim))
    noise = jnp.sqrt(config.noise_variance) * jax.random.normal(key_noise, (most,))
    values = jnp.asarray(config.spectrum, gaussian.dtype)
    first = jnp.arange(most)[None] < jnp.asarray(config.num_samples)[:, None]

    def errors(x: Float[Array, "example dim"]) -> tuple[Array, Array]:
        f = x**2 @ values
        kernel = (x @ x[:most].T) ** 2  # of all examples with the training ones
        y = f[:most] + noise

        def of_first(mask: Array) -> tuple[Array, Array]:
            weight = mask.astype(y.dtype)
            fit = ridge.fit_kernel(kernel[:most] * weight[:, None] * weight[None], y * weight, config.ridge)
            outputs = kernel @ fit
            test = jnp.mean((outputs[most:] - f[most:]) ** 2) + config.noise_variance
            return test, weight @ (outputs[:most] - y) ** 2 / jnp.sum(weight)

        return jax.lax.map(of_first, first)

    sphere = gaussian * jnp.sqrt(dim) / jnp.linalg.norm(gaussian, axis=1, keepdims=True)
    return Result(*errors(sphere), errors(gaussian)[0])


def predict(config: Config) -> Result:
    q = jnp.diag(jnp.asarray(config.spectrum))
    spectrum, power = bilinear_spectra.quadratic_spectrum(len(q)), bilinear_spectra.quadratic_power(q)
    curve = jax.vmap(lambda n: kernel_regression.learning_curve(n, config.ridge, spectrum, power, config.noise_variance))(
        jnp.asarray(config.num_samples, q.dtype)
    )
    return Result(curve.test, curve.train)


_FEATURES = "products of coordinates are not independent Gaussian features: 5 % off where n is near their number, 54"
TOLERANCE = {"test": Tolerance(0.1, reason=_FEATURES), "train": Tolerance(0.1, 1e-4, reason=_FEATURES)}
CURVE = {"num_samples": 200}
QUICK = {"spectrum": (1.0, 0.5, -0.5), "num_samples": (4, 8), "num_test": 40}
SEEDS = 40
