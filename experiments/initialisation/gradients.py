r"""Under LSUV gradients grow or fall by a factor per layer that the activation decides: 1 for ReLU, but 1.18 for tanh.

At unit variance of the pre-activations the second moment of the gradient in them is multiplied, from a layer to the one before
it, by

$$
\chi_1 = \frac{\mathbb{E}\, \phi'(z)^2}{\mathbb{E}\, \phi(z)^2}, \qquad z \sim N(0, 1)
$$

1.178 for tanh (chaotic: gradients explode with depth), 1 for ReLU, 0.153 for sigmoid (ordered: they vanish).

Source: Schoenholz et al., arXiv 1611.01232 (the factor; recalled); Mishkin and Matas, arXiv 1511.06422 (LSUV); its values under
LSUV are derived here
Cost: 25 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Tolerance, check
from ...models.fully_connected import deep
from ...theory.gaussian import signal_propagation
from . import _start


@dataclass(frozen=True)
class Config:
    activation: str = "tanh"  # phi
    init: _start.Init = "lsuv"  # of the weights
    width: Count = 200  # units of each layer, and dimension of the inputs
    depth: Annotated[int, Ge(3)] = 16  # layers
    num_samples: Count = 64  # inputs, also the batch that LSUV looks at
    num_measured: Count = 8  # of them, of whose gradients the second moment is taken

    def __post_init__(self):
        check(self)
        deep.activation_fn(self.activation)
        if self.num_measured > self.num_samples:
            raise ValueError(f"num_measured must be at most num_samples = {self.num_samples}, got {self.num_measured}")

    @property
    def network(self) -> deep.Config:
        return deep.Config(self.width, (self.width,) * self.depth, self.width, self.activation)


class Result(NamedTuple):
    growth: Float[Array, ""]  # factor per layer of the second moment of the gradient, mean over all layers but the first
    log_gradient: Float[Array, "layer"]  # ln of the second moment of the gradient, less that at the last layer


def labels(config: Config) -> dict[str, tuple]:
    return {"layer": tuple(range(1, config.depth + 1))}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key_weights, key_data, key_cotangent = jax.random.split(key, 3)
    batch = jax.random.normal(key_data, (config.num_samples, config.width))
    params = _start.network(key_weights, config.network, config.init, batch)
    cotangent = jax.random.normal(key_cotangent, (config.width,))
    delta = _start.gradients(params, batch[: config.num_measured], cotangent, config.network)
    log_gradient = jnp.log(jnp.mean(delta**2, axis=(1, 2)))
    growth = jnp.exp((log_gradient[1] - log_gradient[-1]) / (config.depth - 2))
    return Result(growth, log_gradient - log_gradient[-1])


def predict(config: Config) -> Result:
    phi = deep.activation_fn(config.activation)
    first = 1.0 if config.init == "lsuv" else _start.WEIGHT_VARIANCE[config.init]
    layers = signal_propagation.propagate(config.depth, first, 1.0, phi, _start.weight_variance(config.init, phi))
    # layer l has the factors of the layers l, .., L - 1
    summed = jnp.cumsum(jnp.log(layers.chi[:-1])[::-1])[::-1]
    log_gradient = jnp.concatenate([summed, jnp.zeros_like(summed[:1])])
    return Result(jnp.exp(log_gradient[1] / (config.depth - 2)), log_gradient)


TOLERANCE = {
    "growth": Tolerance(0.01, reason="means of logarithms are off by O(1/width) a layer"),
    "log_gradient": Tolerance(0.0, 0.15, reason="means of logarithms are off by O(layers/width)"),
}
QUICK = {"width": 24, "depth": 5, "num_samples": 16, "num_measured": 2}
SEEDS = 16
GRID = {"activation": ("relu", "tanh", "erf", "sigmoid")}
