r"""A random deep network is ordered or chaotic: which, the variances of its weights and biases decide.

In the ordered phase two inputs become alike with depth and gradients vanish; in the chaotic phase inputs part, to a correlation
$c_* < 1$, and gradients explode. The border, the edge of chaos, is where the gradient keeps its size:

$$
\chi_1 = \sigma_w^2\, \mathbb{E}\, \phi'(\sqrt{q_*}\, z)^2 = 1, \qquad
q_* = \sigma_w^2\, \mathbb{E}\, \phi(\sqrt{q_*}\, z)^2 + \sigma_b^2
$$

In the simulation it is found as the weight variance at which the gradient of one network neither grows nor falls. Variance,
correlation and gradient are predicted at the depth of the network, from the inputs on; the fixed points, at infinite depth, are
drawn beside them.

Source: Poole et al., arXiv 1606.05340, and Schoenholz et al., arXiv 1611.01232 (phases, edge of chaos; recalled)
Cost: 25 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, Positive, Tolerance, check
from ...models.fully_connected import deep
from ...theory.gaussian import signal_propagation
from . import _start


@dataclass(frozen=True)
class Config:
    activation: str = "tanh"  # phi
    bias_variance: NonNegative = 0.1  # sigma_b^2
    weight_variances: Annotated[tuple[Positive, ...], MinLen(1), Distinct] = (0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4)  # sigma_w^2
    width: Count = 200  # units of each layer, and dimension of the inputs
    depth: Annotated[int, Ge(2)] = 30  # layers
    num_inputs: Annotated[int, Ge(2)] = 8  # independent inputs of mean square 1
    num_halvings: Count = 16  # of the interval of sigma_w^2, between 1/8 and 8, in which the edge is sought

    def __post_init__(self):
        check(self)
        deep.activation_fn(self.activation)

    @property
    def network(self) -> deep.Config:
        return deep.Config(self.width, (self.width,) * self.depth, 1, self.activation)

    @property
    def settled(self) -> int:
        """The layer from which on the growth of the gradient is measured."""
        return self.depth // 2


class Result(NamedTuple):
    edge: Float[Array, ""]  # sigma_w^2 at which the gradient neither grows nor falls
    # means over the second half of the layers
    second_moment: Float[Array, "weight_variance"]  # of the pre-activations
    correlation: Float[Array, "weight_variance"]  # of the pre-activations of two inputs
    chi: Float[Array, "weight_variance"]  # factor per layer of the second moment of the gradient


def labels(config: Config) -> dict[str, tuple]:
    return {"weight_variance": config.weight_variances}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key_weights, key_data, key_cotangent = jax.random.split(key, 3)
    unit = deep.init(key_weights, deep.Config(config.width, config.network.widths, 1, bias_variance=1.0))
    x = jax.random.normal(key_data, (config.num_inputs, config.width))
    x = x / jnp.sqrt(jnp.mean(x**2, axis=1, keepdims=True))
    cotangent = jax.random.normal(key_cotangent, (1,))

    def at(weight_variance: Array) -> deep.Params:
        sigma_w, sigma_b = jnp.sqrt(weight_variance), jnp.sqrt(config.bias_variance)
        return deep.Params(tuple(sigma_w * w for w in unit.weights), tuple(sigma_b * b for b in unit.biases))

    def growth(params: deep.Params) -> Float[Array, ""]:
        """ln chi, over the layers at which the variance has settled."""
        delta = _start.gradients(params, x, cotangent, config.network)
        sizes = jnp.log(jnp.mean(delta**2, axis=(1, 2)))
        return (sizes[config.settled - 1] - sizes[-1]) / (config.depth - config.settled)

    def measure(weight_variance: Array) -> tuple[Array, ...]:
        params = at(weight_variance)
        h = _start.hidden(params, x, config.network)[config.settled :]
        products = jnp.einsum("lin,ljn->lij", h, h) / config.width
        sizes = jnp.einsum("lii->li", products)
        correlations = products / jnp.sqrt(sizes[:, :, None] * sizes[:, None])
        first, second = np.triu_indices(config.num_inputs, 1)
        return jnp.mean(sizes), jnp.mean(correlations[:, first, second]), jnp.exp(growth(params))

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = jnp.sqrt(low * high)
        chaotic = growth(at(middle)) > 0
        return jnp.where(chaotic, low, middle), jnp.where(chaotic, middle, high)

    low, high = jax.lax.fori_loop(0, config.num_halvings, halve, (jnp.asarray(1 / 8), jnp.asarray(8.0)))
    return Result(jnp.sqrt(low * high), *jax.lax.map(measure, jnp.asarray(config.weight_variances)))


def predict(config: Config) -> Result:
    phi = deep.activation_fn(config.activation)
    sigma_w2 = jnp.asarray(config.weight_variances)
    sigma_b2 = jnp.broadcast_to(jnp.asarray(config.bias_variance, sigma_w2.dtype), sigma_w2.shape)
    first = sigma_w2 + sigma_b2
    layers = signal_propagation.propagate(config.depth, first, sigma_b2 / first, phi, sigma_w2, sigma_b2)
    chi = jnp.exp(jnp.mean(jnp.log(layers.chi[config.settled - 1 : -1]), axis=0))
    edge = signal_propagation.edge_of_chaos(phi, config.bias_variance).weight_variance
    late = jax.tree.map(lambda leaf: jnp.mean(leaf[config.settled :], axis=0), layers)
    return Result(edge, late.variance, late.correlation, chi)


def predict_fixed_point(config: Config) -> Result:
    """Infinite depth."""
    phi = deep.activation_fn(config.activation)
    point = signal_propagation.fixed_point(phi, jnp.asarray(config.weight_variances), config.bias_variance)
    return Result(None, point.variance, point.correlation, point.chi)  # pyright: ignore[reportArgumentType]


TOLERANCE = {
    "edge": Tolerance(0.04, reason="1 % of chi, as below, where chi rises by 0.2 for each unit of the weight variance"),
    "second_moment": Tolerance(0.02, reason="means over networks are off by O(1/width)"),
    "correlation": Tolerance(0.0, 0.02, reason="means over networks are off by O(1/width), more near the edge"),
    "chi": Tolerance(0.02, reason="a mean of logarithms: off by half the variance of a layer's factor, about 4/width"),
}
CURVE = {"weight_variances": 60, "bias_variance": 40}
QUICK = {"width": 24, "depth": 6, "num_inputs": 2, "weight_variances": (0.5, 2.0, 4.0), "num_halvings": 6}
SEEDS = 16
GRID = {"bias_variance": (0.02, 0.05, 0.1, 0.2, 0.3)}
