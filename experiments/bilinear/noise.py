r"""Noise on the inputs filters what is learned: directions of low variance are lost first, and the rank stays.

The best quadratic function of $x$ + noise is $A^\top Q^* A$ with the Wiener filter $A$ of the inputs, and a constant for the
trace that is lost. The network, with biases, is trained by Adam on fresh noisy inputs of unequal variances. The rival shrinks
all directions alike, as noise does to isotropic inputs.

$$
\begin{align*}
Q &= A^\top Q^* A, \qquad A = (S + \sigma^2 I)^{-1} S \\
\text{constant} &= \operatorname{tr} Q^* (S - S A), \qquad \text{linear part} = 0
\end{align*}
$$

with the covariance $S$ of the inputs (`variances`), $\sigma$ of the noise (`noise_std`) and the form $Q^*$ of the target.

Source: derived here; the effect of noise in Pearce et al., arXiv 2410.08417, appendix E
Cost: 15 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Tolerance, check
from ...models.bilinear import bilinear
from ...solvers.descent import minibatch_adam
from ...theory.linear_networks import bilinear_losses
from . import _population


@dataclass(frozen=True)
class Config:
    spectrum: _population.Spectrum = (2.0, 1.0, 0.5, -0.5)  # eigenvalues of the target; eigenvectors are discrete cosines
    variances: Annotated[tuple[Positive, ...], MinLen(1)] = (2.0, 1.0, 0.5, 0.25)  # of the inputs, along the coordinates
    noise_std: NonNegative = 0.5  # standard deviation of the noise on every input (paper sigma)
    width: Count = 8  # hidden units
    learning_rate: Positive = 0.01  # of Adam, falling to 0 by a cosine
    batch_size: Count = 512  # fresh examples a step
    num_steps: Count = 4000  # updates

    def __post_init__(self):
        check(self)
        if len(self.spectrum) != len(self.variances):
            raise ValueError(f"variances must be one number for each of {self.spectrum}, got {self.variances}")
        if self.width <= len(self.spectrum):
            raise ValueError(f"width must be above {len(self.spectrum)}, to hold any form and a constant; got {self.width}")

    @property
    def target(self) -> Float[Array, "row row"]:
        """No coordinate is an eigenvector of it."""
        dim = len(self.spectrum)
        places = jnp.arange(float(dim))
        cosines = jnp.cos(jnp.pi * (places[:, None] + 0.5) * places[None] / dim)
        basis = cosines / jnp.linalg.norm(cosines, axis=0, keepdims=True)
        return (basis * jnp.asarray(self.spectrum, basis.dtype)[None]) @ basis.T


class Result(NamedTuple):
    interaction: Float[Array, "row column"]  # quadratic form of the inputs
    linear: Float[Array, "row"]
    constant: Float[Array, ""]


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key_params, key = jax.random.split(key)
    model = bilinear.Config(len(config.spectrum), config.width, bias=True, scheme="ones", init_scale=0.5)
    start, target = bilinear.init(key_params, model), config.target
    scale = jnp.sqrt(jnp.asarray(config.variances, target.dtype))
    shape = (config.batch_size, len(config.spectrum))

    def error(trained: tuple[Array, Array], step: Array) -> Array:
        key_x, key_noise = jax.random.split(jax.random.fold_in(key, step))
        x = scale[None] * jax.random.normal(key_x, shape)
        noisy = x + config.noise_std * jax.random.normal(key_noise, shape)
        params = start._replace(w=trained[0], v=trained[1])
        f = jax.vmap(bilinear.apply, (None, 0))(params, bilinear.append_one(noisy))[:, 0]
        return jnp.mean((f - jnp.sum((x @ target) * x, axis=1)) ** 2)

    w, v = minibatch_adam(error, (start.w, start.v), config.learning_rate, config.num_steps)
    form = _population.form(start._replace(w=w, v=v))
    return Result(form[:-1, :-1], 2 * form[:-1, -1], form[-1, -1])


def predict(config: Config) -> Result:
    found = bilinear_losses.wiener(config.target, jnp.diag(jnp.asarray(config.variances)), config.noise_std**2)
    return Result(found.q, jnp.zeros(len(config.variances), found.q.dtype), found.constant)


def predict_isotropic(config: Config) -> Result:
    """As if all inputs had the mean variance."""
    mean = sum(config.variances) / len(config.variances)
    found = bilinear_losses.wiener(config.target, mean * jnp.eye(len(config.variances)), config.noise_std**2)
    return Result(found.q, jnp.zeros(len(config.variances), found.q.dtype), found.constant)


_SCATTER = "minibatches scatter the weights about the optimum, which is left in the form once the rate has fallen to 0"
TOLERANCE = {
    "interaction": Tolerance(absolute=0.01, reason=_SCATTER),
    "linear": Tolerance(absolute=0.01, reason=_SCATTER),
    "constant": Tolerance(0.01, 0.01, reason=_SCATTER),
}
QUICK = {"num_steps": 20, "batch_size": 16}
SEEDS = 8
GRID = {"noise_std": (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)}
