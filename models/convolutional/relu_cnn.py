r"""A convolutional network with one hidden layer of ReLU units, averaged over all places before a linear readout.

$$
f_c(x) = \beta_c + \sum_{k=1}^{K} a_{ck} \frac{1}{J} \sum_{j=1}^{J} \operatorname{relu}(w_k \cdot p_j(x))
$$

with the patches $p_j$ of the image, at all places where a filter fits (no padding), as in `linear_cnn`.

| paper | name here | shape | meaning |
|---|---|---|---|
| $w_k$ | `filters[k]` | (num_filters, side, side, channels) | filters |
| $a$, $\beta$ | `readout`, `bias` | (num_classes, num_filters), (num_classes,) | of the linear layer |

Source: the nonlinear sibling of the linear network of Chowers and Weiss, arXiv 2206.02454, whose own networks are deep.

Example. The output is an average over places, so that a constant image is seen alike at any size:

>>> import jax, jax.numpy as jnp
>>> from closedform.models.convolutional import relu_cnn
>>> params = relu_cnn.init(jax.random.key(0), relu_cnn.Config())
>>> small, large = (relu_cnn.apply(params, jnp.ones((size, size, 3))) for size in (4, 9))
>>> bool(abs(small - large).max() < 1e-5)
True
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, check
from ...documented import documented
from .._example import one_example
from . import linear_cnn


@dataclass(frozen=True)
class Config:
    channels: Count = 3  # of the image
    side: Count = 3  # pixels along an edge of a filter
    num_filters: Count = 32  # hidden units at every place
    num_classes: Count = 2  # outputs
    init_scale: NonNegative = (
        1.4142135623730951  # standard deviation of the weights times the root of their inputs: He's root of 2
    )

    def __post_init__(self):
        check(self)


@documented
class Params(NamedTuple):
    filters: Float[Array, "filter side side channel"]
    readout: Float[Array, "class filter"]
    bias: Float[Array, "class"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Independent Gaussian weights of variance init_scale^2 over the inputs of their layer, and no biases."""
    key_filters, key_readout = jax.random.split(key)
    shape = config.num_filters, config.side, config.side, config.channels
    filters = config.init_scale * jax.random.normal(key_filters, shape) / jnp.sqrt(config.side**2 * config.channels)
    readout = config.init_scale * jax.random.normal(key_readout, (config.num_classes, config.num_filters))
    return Params(filters, readout / jnp.sqrt(config.num_filters), jnp.zeros(config.num_classes))


@one_example
def apply(params: Params, x: Float[Array, "height width channel"]) -> Float[Array, "class"]:
    """The outputs for one image. Raises ValueError for an image that is smaller than a filter."""
    answers = linear_cnn.responses(bank(params), linear_cnn.patches(x, params.filters.shape[1]))
    return params.readout @ jnp.mean(jax.nn.relu(answers), axis=(0, 1)) + params.bias


def bank(params: Params) -> Float[Array, "filter weight"]:
    """The filters, flattened in the order of the pixels of a patch."""
    return params.filters.reshape(len(params.filters), -1)
