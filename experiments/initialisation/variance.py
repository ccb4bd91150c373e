r"""Unit variance over all entries is not unit variance of a unit: with depth all inputs may become alike.

LSUV keeps the variance of a layer, over inputs and units alike, at 1. What one unit tells two inputs apart by is its variance
over the inputs. In a wide network this is $1 - c_l$, with the correlation $c_l$ of two independent inputs after $l$ layers:

$$
c_{l+1} = \frac{\sigma_w^2\, \mathbb{E}\, \phi(u) \phi(v)}{q_{l+1}}, \qquad
q_{l+1} = \sigma_w^2\, \mathbb{E}\, \phi(\sqrt{q_l}\, z)^2
$$

For ReLU it falls as $9 \pi^2/(2 l^2)$. For sigmoid it falls by the factor 0.15 a layer, so that after five layers a network
hardly sees its input. For tanh it stays at 1, and two inputs that were alike part. Orthonormal weights without a gain lose half
of the second moment in every layer of ReLU.

Left out are activations such as GELU and SiLU, for which second moment 1 is not a stable point of the map of $q$ under LSUV: it
keeps the mean over inputs at 1, and the second moments of single inputs part.

Source: Mishkin and Matas, arXiv 1511.06422 (LSUV); Poole et al., arXiv 1606.05340 (the maps; recalled); the variance of a unit
is derived here
Cost: 40 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Fraction, Tolerance, check
from ...models.fully_connected import deep
from ...theory.gaussian import signal_propagation
from . import _start


@dataclass(frozen=True)
class Config:
    activation: str = "relu"  # phi
    init: _start.Init = "lsuv"  # of the weights
    width: Count = 200  # units of each layer, and dimension of the inputs
    depth: Count = 15  # layers
    num_samples: Annotated[int, Ge(2)] = 256  # inputs, also the batch that LSUV looks at
    correlation: Fraction = 0.9  # of the two inputs of a pair

    def __post_init__(self):
        check(self)
        deep.activation_fn(self.activation)

    @property
    def network(self) -> deep.Config:
        return deep.Config(self.width, (self.width,) * self.depth, 1, self.activation)


class Result(NamedTuple):
    log_second_moment: Float[Array, "layer"]  # ln of the mean square of the pre-activations
    unit_variance: Float[Array, "layer"]  # variance over inputs, mean over units, over the second moment
    correlation: Float[Array, "layer"]  # of the pre-activations of the two inputs of a pair


def labels(config: Config) -> dict[str, tuple]:
    return {"layer": tuple(range(config.depth))}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key_weights, key_data, key_pairs = jax.random.split(key, 3)
    batch, other = (jax.random.normal(one, (config.num_samples, config.width)) for one in (key_data, key_pairs))
    params = _start.network(key_weights, config.network, config.init, batch)
    h = _start.hidden(params, batch, config.network)
    second_moment = jnp.mean(h**2, axis=(1, 2))
    # a few pairs: what varies is the network
    few = batch[: max(2, config.num_samples // 8)]
    rho = config.correlation
    near = rho * few + jnp.sqrt(1 - rho**2) * other[: len(few)]
    partner, h_few = _start.hidden(params, near, config.network), h[:, : len(few)]
    products, squares, others = (
        jnp.mean(u * v, axis=(1, 2)) for u, v in ((h_few, partner), (h_few, h_few), (partner, partner))
    )
    return Result(
        jnp.log(second_moment),
        jnp.mean(jnp.var(h, axis=1), axis=1) / second_moment * len(batch) / (len(batch) - 1),
        products / jnp.sqrt(squares * others),
    )


def predict(config: Config) -> Result:
    phi = deep.activation_fn(config.activation)
    sigma_w2 = _start.weight_variance(config.init, phi)
    first = 1.0 if config.init == "lsuv" else _start.WEIGHT_VARIANCE[config.init]
    start = jnp.stack([jnp.zeros_like(config.correlation), jnp.asarray(config.correlation)])
    layers = signal_propagation.propagate(config.depth, first, start, phi, sigma_w2)
    return Result(jnp.log(layers.variance[:, 0]), 1 - layers.correlation[:, 0], layers.correlation[:, 1])


TOLERANCE = {
    "log_second_moment": Tolerance(0.0, 0.1, reason="means of logarithms are off by O(layers/width)"),
    "unit_variance": Tolerance(
        0.3, 1e-3, reason="second moments of inputs drift apart by O(layers/width), which adds to it; rounding of 1 - c"
    ),
    "correlation": Tolerance(0.0, 0.02, reason="off by O(layers/width)"),
}
QUICK = {"width": 24, "depth": 6, "num_samples": 16}
SEEDS = 8
GRID = {"activation": ("relu", "tanh", "sigmoid"), "init": ("lsuv", "orthonormal", "he")}
