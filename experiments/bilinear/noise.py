r"""Noise on the inputs acts as a Wiener filter on the learned form: directions of low variance are lost first.

The best quadratic function of $x$ + noise is $A^\top Q^* A$ with the Wiener filter $A$ of the inputs, and a constant for the
trace that is lost. The network, with biases, is trained by Adam on fresh noisy inputs of unequal variances. The rival
prediction shrinks all directions alike, as noise does for isotropic inputs.

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

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, Tolerance, check
from ...models.bilinear import bilinear
from ...solvers import classify
from ...theory.linear_networks import bilinear_losses
from . import _population


@dataclass(frozen=True)
class Config:
    spectrum: _population.Spectrum = (2.0, 1.0, 0.5, -0.5)  # eigenvalues of the target; eigenvectors are discrete cosines
    variances: Annotated[tuple[Positive, ...], MinLen(1)] = (2.0, 1.0, 0.5, 0.25)  # of the inputs, along the coordinates
    noise_std: NonNegative = 0.5  # standard deviation of the noise on every input (paper sigma)
    width: Count = 8  # hidden units
    training: classify.Training = field(default_factory=lambda: classify.Training(0.01, 0.0, batch_size=512, num_steps=4000))

    def __post_init__(self):
        check(self)
        if len(self.spectrum) != len(self.variances):
            raise ValueError(f"variances must be one number for each of spectrum = {self.spectrum}, got {self.variances}")
        if self.width <= len(self.spectrum):
            raise ValueError(f"width must be above {len(self.spectrum)}, to hold any form and a constant; got {self.width}")

    @property
    def target(self) -> Float[Array, "row row"]:
        """The form of the target; no coordinate is an eigenvector of it."""
        dim = len(self.spectrum)
        places = jnp.arange(float(dim))
        cosines = jnp.cos(jnp.pi * (places[:, None] + 0.5) * places[None] / dim)
        basis = cosines / jnp.linalg.norm(cosines, axis=0, keepdims=True)
        return (basis * jnp.asarray(self.spectrum, basis.dtype)[None]) @ basis.T


class Result(NamedTuple):
    interaction: Float[Array, "row column"]  # quadratic form of the inputs
    linear: Float[Array, "row"]
    constant: Float[Array, ""]


class State(NamedTuple):
    layers: classify.State  # w and v
    readout: Float[Array, "output width"]  # p, which does not move


def init(key: PRNGKeyArray, config: Config) -> State:
    key_params, key_train = jax.random.split(key)
    model = bilinear.Config(len(config.spectrum), config.width, bias=True, init="ones", init_scale=0.5)
    start = bilinear.init(key_params, model)
    return State(classify.start(key_train, (start.w, start.v)), start.p)


def step(state: State, config: Config) -> State:
    target = config.target
    scale = jnp.sqrt(jnp.asarray(config.variances, target.dtype))
    shape = (config.training.batch_size, len(config.spectrum))

    def error(trained: tuple[Array, Array], key: PRNGKeyArray) -> Float[Array, ""]:
        w, v = trained
        key_x, key_noise = jax.random.split(key)
        x = scale[None] * jax.random.normal(key_x, shape)
        noisy = x + config.noise_std * jax.random.normal(key_noise, shape)
        params = bilinear.Params(w, v, state.readout)
        f = jax.vmap(bilinear.apply, (None, 0))(params, bilinear.append_one(noisy))[:, 0]
        return jnp.mean((f - jnp.sum((x @ target) * x, axis=1)) ** 2)

    return state._replace(layers=classify.step(state.layers, error, config.training))


def num_steps(config: Config) -> int:
    return config.training.num_steps


def simulate(state: State, config: Config) -> Result:
    w, v = state.layers.params
    form = _population.form(bilinear.Params(w, v, state.readout))
    return Result(form[:-1, :-1], 2 * form[:-1, -1], form[-1, -1])


def predict(config: Config) -> Result:
    found = bilinear_losses.wiener(config.target, jnp.diag(jnp.asarray(config.variances)), config.noise_std**2)
    return Result(found.q, jnp.zeros(len(config.variances), found.q.dtype), found.constant)


def predict_isotropic(config: Config) -> Result:
    """The prediction if all inputs had the mean variance."""
    mean = sum(config.variances) / len(config.variances)
    found = bilinear_losses.wiener(config.target, mean * jnp.eye(len(config.variances)), config.noise_std**2)
    return Result(found.q, jnp.zeros(len(config.variances), found.q.dtype), found.constant)


_SCATTER = "minibatch noise leaves the weights scattered about the optimum when the learning rate has fallen to 0"
TOLERANCE = {
    "interaction": Tolerance(absolute=0.01, reason=_SCATTER),
    "linear": Tolerance(absolute=0.01, reason=_SCATTER),
    "constant": Tolerance(0.01, 0.01, reason=_SCATTER),
}
CURVE = {"noise_std": 200}
QUICK = {"training.num_steps": 20, "training.batch_size": 16}
SEEDS = 8
GRID = {"noise_std": (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)}
