r"""With a decoder for every layer and every prefix size, each cell of the grid is as good as if it were trained alone.

A deep linear autoencoder with an exit after every layer is trained from small random weights on the sum over exits and prefix
sizes. Nesting in both directions has no price: a cell lacks what its prefix or the narrowest layer before it cuts off.

$$
\mathbb{E} |x - V_{n,m} (z_n)_{:m}|^2 = \sum_{i > r} \lambda_i, \qquad r = \min(m, d_1, \dots, d_n)
$$

with the widths $d_n$ of the layers.

Source: derived here, for training at several layers and prefix sizes as in Li et al., arXiv 2402.14776 (number recalled)
Cost: 15 s
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, Precision, Tolerance, check
from ...models.linear import nested
from ...theory.linear_networks import nested as theory
from . import _population


@dataclass(frozen=True)
class Config:
    spectrum: _population.Spectrum = _population.SPECTRUM  # variances of the inputs (lambda)
    model: nested.Config = field(default_factory=lambda: _population.model(4, (4, 4, 2), "all"))  # widths of the layers (d_n)
    learning_rate: Positive = 0.01  # step size on the nested loss, which has no factor 1/2
    num_steps: Count = 70000  # updates
    dtype: Precision = "float64"  # the loss is compared to 1e-6 and better

    def __post_init__(self):
        check(self)
        _population.check_model(self.model, self.spectrum)
        if self.model.exits != "all":
            raise ValueError(f"model.exits must be 'all', got {self.model.exits!r}")


class Result(NamedTuple):
    error: Float[Array, "exit size"]  # of each layer's decoders at each prefix size


def labels(config: Config) -> dict[str, tuple]:
    return {"exit": tuple(range(1, len(config.model.widths) + 1)), "size": tuple(range(1, config.model.width + 1))}


def init(key: PRNGKeyArray, config: Config) -> nested.Params:
    return nested.init(key, config.model)


def step(state: nested.Params, config: Config) -> nested.Params:
    covariance = _population.covariance(config.spectrum)
    rate = jnp.asarray(config.learning_rate, covariance.dtype)
    return nested.descend(state, rate, np.ones(config.model.width), covariance)


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: nested.Params, config: Config) -> Result:
    return Result(nested.errors(state, _population.covariance(config.spectrum)))


def predict(config: Config) -> Result:
    sizes = np.arange(1, config.model.width + 1)
    return Result(theory.cell_optimum(config.spectrum, np.array(config.model.widths), sizes))


_END = "gradient descent has converged: what is left of the slowest mode after these updates"
TOLERANCE = {"error": Tolerance(0, 1e-6, reason=_END)}
QUICK = {"spectrum": (4.0, 1.0), "model.encoder.dim": 2, "model.encoder.widths": (2,), "model.encoder.num_outputs": 1}
QUICK |= {"model.num_outputs": 2, "num_steps": 20}
SEEDS = 8
PRESETS = {"even": {"model.encoder.widths": (3, 3, 3), "model.encoder.num_outputs": 3}}
