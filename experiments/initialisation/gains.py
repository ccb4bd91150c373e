r"""LSUV finds the analytic gain of every activation by itself, for layers of every shape.

Orthonormal weights of a layer with $n$ inputs and $n'$ outputs are multiplied by the factor that makes the variance of the
layer's output 1. In the limit of large widths this factor is known. The weights end at the variance $1/m_2$ over the fan-in
whatever the shape: He's initialisation for ReLU, and its counterpart for any other activation.

$$
s = \sqrt{\frac{\max(1, n'/n)}{m_2}}, \qquad n\, \mathbb{E} W^2 = \frac{1}{m_2}, \qquad
m_2 = \mathbb{E} \phi(z)^2, \quad z \sim N(0, 1)
$$

For the first layer $m_2$ is the mean square of the data, here 1.

Source: Mishkin and Matas, arXiv 1511.06422 (LSUV); the factor is derived here
Cost: 30 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, Static, Tolerance, check
from ...models.fully_connected import deep, initialisers
from ...theory.gaussian import signal_propagation


@dataclass(frozen=True)
class Config:
    activation: str = "relu"  # between the layers (phi)
    dim: Count = 200  # of the data
    widths: Annotated[tuple[Count, ...], MinLen(2)] = (400, 200, 100, 200)  # outputs of each layer
    num_samples: Count = 256  # inputs in the batch that LSUV looks at
    tolerance: Annotated[NonNegative, Static] = 0.02  # of the variance, at which LSUV rests
    max_rescalings: Count = 20  # of a layer

    def __post_init__(self):
        check(self)
        deep.activation_fn(self.activation)

    @property
    def network(self) -> deep.Config:
        return deep.Config(self.dim, self.widths[:-1], self.widths[-1], self.activation)


class Result(NamedTuple):
    scale: Float[Array, "layer"]  # what LSUV multiplied orthonormal weights by
    weight_variance: Float[Array, "layer"]  # fan-in times the mean square of the weights after it
    variance: Float[Array, "layer"]  # of the layer's output after it, over all entries
    variance_before: Float[Array, "layer"] | None = None  # once the layers before were rescaled
    num_rescalings: Float[Array, "layer"] | None = None


def labels(config: Config) -> dict[str, tuple]:
    return {"layer": tuple(range(1, len(config.widths) + 1))}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key_weights, key_data = jax.random.split(key)
    start = initialisers.initialise(key_weights, config.network, "orthonormal")
    batch = jax.random.normal(key_data, (config.num_samples, config.dim))
    params, log = initialisers.lsuv(start, batch, config.network, config.tolerance, config.max_rescalings)
    mean_square = jnp.stack([weight.shape[1] * jnp.mean(weight**2) for weight in params.weights])
    return Result(log.scale, mean_square, log.variance_after, log.variance_before, log.num_rescalings.astype(batch.dtype))


def predict(config: Config) -> Result:
    later = signal_propagation.mean_square(deep.activation_fn(config.activation))
    mean_square = jnp.stack([jnp.ones_like(later), *[later] * (len(config.widths) - 1)])
    fan_out, fan_in = (jnp.asarray(sizes, later.dtype) for sizes in zip(*config.network.shapes, strict=True))
    scale = signal_propagation.lsuv_scale(fan_in, fan_out, mean_square)
    return Result(scale, 1 / mean_square, jnp.ones_like(scale))


LEFT = "LSUV rests within its tolerance of 0.02 on the variance"
TOLERANCE = {
    "scale": Tolerance(0.015, reason=f"{LEFT}, 0.01 on the scale; means over networks are off by O(1/width)"),
    "weight_variance": Tolerance(0.03, reason=f"{LEFT}; means over networks are off by O(1/width)"),
    "variance": Tolerance(0.0, 0.02, reason=LEFT),
}
QUICK = {"dim": 24, "widths": (48, 24), "num_samples": 32}
SEEDS = 16
GRID = {"activation": ("relu", "leaky_relu", "tanh", "erf", "sigmoid", "gelu_erf", "silu")}
