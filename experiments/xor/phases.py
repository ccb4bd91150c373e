"""Two phases of SGD on XOR: neurons find the signal at rate 1/sqrt(2 pi), then grow along it at rate 1/(2 sqrt 2).

Source: Glasgow, arXiv 2309.15111 (the two phases); the mean-field curves are derived here
Cost: 20 s
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...models import two_layer
from ...theory import xor_mean_field
from . import _training


@dataclass(frozen=True)
class Config(_training.Config):
    record_every: int = 5  # steps between two records


class Result(NamedTuple):
    """Root mean squares over the neurons."""

    signal: Float[Array, ""]  # w . mu_1 where a > 0, w . mu_2 where a < 0
    opposite: Float[Array, ""]  # the other of the two
    perp_norm: Float[Array, ""]  # norm of w outside the first two coordinates
    readout: Float[Array, ""]  # |a|


init, step = _training.init, _training.step


def steps(config: Config) -> np.ndarray:
    return np.arange(0, config.num_steps + 1, config.record_every)


def observe(state: _training.State, config: Config) -> Result:
    return Result(*(_rms(part) for part in two_layer.components(state.params)))


def predict(state: _training.State, config: Config, steps: np.ndarray) -> Result:
    """The mean-field system from the same initial weights at the same step size."""
    path = xor_mean_field.euler(_training.neurons(state.params), config.learning_rate, steps)
    alpha, beta = path.w[..., 0] - path.w[..., 1], path.w[..., 0] + path.w[..., 1]
    signal, opposite = jnp.where(path.a > 0, alpha, beta), jnp.where(path.a > 0, beta, alpha)
    return Result(_rms(signal), _rms(opposite), _rms(path.s), _rms(path.a))


def _rms(values: Float[Array, "*batch neuron"]) -> Float[Array, "*batch"]:
    return jnp.sqrt(jnp.mean(values**2, axis=-1))


TOLERANCE = {}
QUICK = {"model.dim": 16, "model.width": 32, "batch_size": 64, "num_steps": 20}
