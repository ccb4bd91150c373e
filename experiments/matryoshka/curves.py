r"""Every coordinate of a nested autoencoder is learned along a logistic curve, the faster the more sizes contain it.

From weights along the principal axes, balanced, with a strength of each axis that is drawn at random. A coordinate that
belongs to $K$ trained sizes is learned $\sqrt K$ times as fast as without nesting with separate decoders, and $K$ times as
fast with a shared one: nesting adds its order to that of the variances.

$$
u_i(t) = \frac{1}{1 + (1/u_i(0) - 1)\, e^{-4 \lambda_i \kappa_i t}}, \qquad
\kappa_i = \sqrt{K_i} \;\text{(separate)}, \quad K_i \;\text{(shared)}
$$

Source: derived here, for the nested loss of Kusupati et al., arXiv 2205.13147, with squared errors
Cost: 15 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Fraction, Positive, Precision, Tolerance, check
from ...models.linear import nested
from ...theory.linear_networks import nested as theory
from . import _population


@dataclass(frozen=True)
class Config:
    spectrum: _population.Spectrum = _population.SPECTRUM  # variances of the inputs (lambda)
    model: nested.Config = field(default_factory=_population.model)  # one layer; its scale is not used
    sizes: _population.Sizes = (1, 2, 3, 4)  # trained prefix sizes (M)
    weakest: Fraction = 1e-4  # least strength at the start; strengths are log-uniform
    strongest: Fraction = 1e-2  # largest strength at the start
    learning_rate: Positive = 2.5e-4  # step size on the nested loss, which has no factor 1/2
    num_steps: Count = 24000  # updates
    num_records: Count = 60  # recorded times, spaced as their squares
    dtype: Precision = "float64"  # curves of many small steps

    def __post_init__(self):
        check(self)
        _population.check_model(self.model, self.spectrum)
        _population.check_sizes(self.sizes, self.model.width)
        if self.model.encoder.widths:
            raise ValueError(f"model.encoder.widths must be empty, one layer, got {self.model.encoder.widths}")


class Result(NamedTuple):
    strength: Float[Array, "mode"]  # u_i: what the decoders make of the input along axis i, mean over those that read it
    loss: Float[Array, ""]  # nested loss


def init(key: PRNGKeyArray, config: Config) -> nested.Params:
    """Weights along the axes with incoming weights as large as all outgoing ones: w^2 = K u with separate decoders."""
    low, high = jnp.log(config.weakest), jnp.log(config.strongest)
    u = jnp.exp(jax.random.uniform(key, (config.model.width,), minval=low, maxval=high))
    heads = jnp.where(_read(config).sum(axis=0) > 0, 1.0 if config.model.shared else _read(config).sum(axis=0), 1.0)
    w = jnp.sqrt(u * jnp.sqrt(heads))
    dim = len(config.spectrum)
    decoders = jnp.eye(dim, config.model.width) * (u / w)[None]
    shape = 1, 1 if config.model.shared else config.model.width, *decoders.shape
    return nested.Params((w[:, None] * jnp.eye(config.model.width, dim),), jnp.broadcast_to(decoders, shape))


def step(state: nested.Params, config: Config) -> nested.Params:
    covariance = _population.covariance(config.spectrum)
    rate = jnp.asarray(config.learning_rate, covariance.dtype)
    return nested.descend(state, rate, nested.weights_at(config.sizes, config.model.width), covariance)


def observe(state: nested.Params, config: Config) -> Result:
    covariance = _population.covariance(config.spectrum)
    gains = jnp.diagonal(state.decoders[0] @ state.weights[0], axis1=1, axis2=2)[:, : config.model.width]  # head mode
    read = jnp.ones_like(gains) if config.model.shared else _read(config)
    strength = jnp.sum(read * gains, axis=0) / jnp.maximum(jnp.sum(read, axis=0), 1)
    return Result(strength, nested.nested_loss(state, nested.weights_at(config.sizes, config.model.width), covariance))


def steps(config: Config) -> np.ndarray:
    return np.unique((config.num_steps * np.linspace(0, 1, config.num_records + 1) ** 2).astype(int))


def predict(state: nested.Params, config: Config, steps: np.ndarray) -> Result:
    initial = observe(state, config).strength
    width, spectrum = config.model.width, jnp.asarray(config.spectrum, initial.dtype)
    counts = theory.term_counts(np.array(config.sizes), width)
    time = config.learning_rate * jnp.asarray(steps, initial.dtype)
    u = theory.nested_strength(time[:, None], spectrum[None, :width], initial[None], counts[None], config.model.shared)
    learned = (1 - u) ** 2 @ (counts * spectrum[:width])
    left = jnp.sum(spectrum) * len(config.sizes) - jnp.sum(counts * spectrum[:width])
    return Result(u, learned + left)


def predict_plain(state: nested.Params, config: Config, steps: np.ndarray) -> Result:
    """Without nesting: one decoder, for all coordinates."""
    once = jnp.where(theory.term_counts(np.array(config.sizes), config.model.width) > 0, 1.0, 0.0)
    initial = observe(state, config).strength
    time = config.learning_rate * jnp.asarray(steps, initial.dtype)
    spectrum = jnp.asarray(config.spectrum, initial.dtype)
    u = theory.nested_strength(time[:, None], spectrum[None, : config.model.width], initial[None], once[None])
    left = jnp.sum(spectrum) - (1 - (1 - u) ** 2) @ (once * spectrum[: config.model.width])
    return Result(u, left)


def _read(config: Config) -> Float[Array, "size mode"]:
    """1 where a trained size reads a coordinate."""
    width = config.model.width
    return jnp.tri(width, dtype=float) * jnp.asarray(nested.weights_at(config.sizes, width), float)[:, None]


_LAG = (
    "descent lags behind the flow by eta g ln(1/u_0)/2 in the log-odds of u, with g = 2 lambda kappa at most 32: 0.04, or 0.01 "
    "in u where it is steepest"
)
TOLERANCE = {
    "strength": Tolerance(0, 0.01, reason=_LAG),
    "loss": Tolerance(0, 0.2, reason=f"{_LAG}; the loss moves by 2 K lambda u (1 - u)^2, at most 4.8, times the lag"),
}
QUICK = {"spectrum": (4.0, 1.0, 0.25), "model.encoder.dim": 3, "model.encoder.num_outputs": 2, "model.num_outputs": 3}
QUICK |= {"sizes": (1, 2), "num_steps": 40, "num_records": 4}
SEEDS = 8
GRID = {"model.shared": (False, True)}
