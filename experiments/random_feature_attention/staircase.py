r"""Kernel ridge regression learns a target block by block, each when the samples exceed the number of modes up to it.

The kernel is that of augmented attention with infinitely many heads. A block of degrees $(r, s)$ in query and keys has
$B_r B_s$ modes, so that at $d = 8$ the linear target falls at $n \approx 8$, the quadratic at 35, the correlation at 64, and
the gated one, whose power lies in two blocks, in two steps, the second at $8 \times 35$.

$$
\begin{align*}
n &= \sum_{rs} B_r B_s L_{rs} + \frac{\delta + \tau}{\kappa}, \qquad L_{rs} = \frac{\lambda_{rs}}{\lambda_{rs} + \kappa}, \qquad
q = \sum_{rs} B_r B_s L_{rs}^2 \\
\text{test} &= \frac{n}{n - q} \left[ \sum_{rs} v_{rs} (1 - L_{rs})^2 + \sigma^2 \right], \qquad
\text{train} = \left( \frac{\delta}{n \kappa} \right)^2 \text{test}
\end{align*}
$$

Here $\lambda_{rs}$ and $v_{rs}$ are the eigenvalue of a block and the target's power in it, $\tau$ the trace of the kernel
beyond the blocks, $\kappa$ the root of the first equation, $\delta$ is `ridge` and $\sigma^2$ `noise_variance`: a block is
learned once $\kappa$ is well below $\lambda_{rs}$.

Source: kernel and spectrum derived here; learning curve: Simon et al., arXiv 2110.03922, as in theory.kernels.kernel_regression
Cost: 30 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Tolerance
from ...solvers import ridge
from ...theory.kernels import attention_kernel, kernel_regression
from . import _ridge

TARGETS = ("linear", "quadratic", "correlation", "gated")


@dataclass(frozen=True)
class Config(_ridge.Config):
    dim: Count = 8  # dimension of a token, paper d
    num_keys: Count = 4  # keys of an example, paper N
    num_samples: _ridge.Counts = (16, 32, 64, 128, 256, 512, 1024)  # training examples n, the first of the same draw
    augment: bool = True  # tokens [x; 1]: without, constants, quadratic and correlation targets are invisible

    @property
    def weight_std(self) -> float:
        """Paper s, such that pre-activations have variance 1."""
        return 0.5 if self.augment else 1.0


class Result(NamedTuple):
    test: Float[Array, "target samples"]  # mean square error on fresh examples, noise included
    train: Float[Array, "target samples"]  # mean square residual on the training labels


def labels(config: Config) -> dict[str, tuple]:
    return {"target": TARGETS, "samples": config.num_samples}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    data = _ridge.draw(key, TARGETS, max(config.num_samples), config.num_keys, config.dim, config)

    def kernel(x: Array, y: Array) -> Array:
        return attention_kernel.kernel(x, y, config.weight_std, config.augment)

    gram, cross = ridge.gram(kernel, data.x), ridge.gram(kernel, data.x_test, data.x)

    def errors(mask: Float[Array, "sample"]) -> Result:
        fit = ridge.fit_kernel(gram * mask[:, None] * mask[None], data.y * mask[:, None], config.ridge)
        return Result(_ridge.test_error(cross @ fit, data, config), _ridge.train_error(gram @ fit, data, mask))

    return jax.tree.map(jnp.transpose, jax.lax.map(errors, _ridge.first(config.num_samples)))


def predict(config: Config) -> Result:
    spectrum = attention_kernel.spectrum(config.dim, config.num_keys, config.weight_std, config.augment)

    def at(num_samples: Array, power: Array) -> Result:
        curve = kernel_regression.learning_curve(num_samples, config.ridge, spectrum, power, config.noise_variance)
        return Result(curve.test, curve.train)

    samples, powers = jnp.asarray(config.num_samples, float), _ridge.powers(TARGETS, config.num_keys, config.dim)
    return jax.vmap(jax.vmap(at, (0, None)), (None, 0))(samples, powers)


TOLERANCE = {
    "test": Tolerance(
        0.1,
        reason="the learning curve is exact as all of n and the multiplicities grow; modes of degree 1 number 8 here",
    ),
    "train": Tolerance(
        0.1,
        1e-4,
        reason="the learning curve is exact as all of n and the multiplicities grow; where the fit interpolates, both errors "
        "are close to 0",
    ),
}
SHARED = dict.fromkeys(
    ("test", "train"),
    "infinitely many heads can only be simulated through their exact kernel: what is judged is the error of the fit on drawn "
    "data, and `convergence` judges the kernel itself by heads",
)
CURVE = {"num_samples": 100}
QUICK = {"num_samples": (8, 16), "num_test": 50, "dim": 4, "num_keys": 2}
SEEDS = 10
PRESETS = {"large": {"num_samples": (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)}}
