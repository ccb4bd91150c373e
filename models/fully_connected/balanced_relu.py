r"""Two-layer ReLU network with several outputs, no biases, and layers that start balanced.

$$
f(x) = \sum_{j=1}^{m} a_j \operatorname{relu}(w_j \cdot x), \qquad \|w_j\| = \|a_j\| = a \ \text{at the start}
$$

Both layers train. Gradient flow conserves $\|w_j\|^2 - \|a_j\|^2$ of every unit, so that the hidden activity
$\operatorname{relu}(w_j \cdot x)$ keeps the scale that $\|a_j\| \|w_j\|$ gives it. `path_norm` is what a vanishing start
minimises among the networks that fit.

| formula | name here | shape | meaning |
|---|---|---|---|
| $m$ | `width` | | hidden units |
| $a$ | `init_scale` | | norm of every $w_j$ and of every $a_j$ at the start |
| $w_j$ | `w[:, j]` | (dim, width) | first layer, one column a unit |
| $a_j$ | `a[:, j]` | (output, width) | second layer, one column a unit |

Source: textbook (the network).

Example. The path norm has degree two in the parameters, and is the width times the square of the scale at the start:

>>> import jax
>>> from closedform.models.fully_connected import balanced_relu
>>> params = balanced_relu.init(jax.random.key(0), balanced_relu.Config(width=8, init_scale=0.5))
>>> round(float(balanced_relu.path_norm(params)), 5)
2.0
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Positive, check
from ...documented import documented
from .._example import one_example


@dataclass(frozen=True)
class Config:
    dim: Count = 3  # input dimension
    width: Count = 64  # hidden units
    num_outputs: Count = 2
    init_scale: Positive = 1e-3  # norm of every w_j and of every a_j at the start

    def __post_init__(self):
        check(self)


@documented
class Params(NamedTuple):
    w: Float[Array, "dim width"]  # column j is w_j
    a: Float[Array, "output width"]  # column j is a_j


def init(key: PRNGKeyArray, config: Config) -> Params:
    """w_j and a_j independent, uniform on the spheres of radius init_scale."""
    gaussian = jax.random.normal(key, (config.dim + config.num_outputs, config.width))
    w, a = gaussian[: config.dim], gaussian[config.dim :]
    return Params(*(config.init_scale / jnp.linalg.norm(part, axis=0, keepdims=True) * part for part in (w, a)))


@one_example
def apply(params: Params, x: Float[Array, "dim"]) -> Float[Array, "output"]:
    """The outputs on one example."""
    return outputs(params, hidden(params, x))


def hidden(params: Params, x: Float[Array, "*sample dim"]) -> Float[Array, "*sample width"]:
    """relu(w_j . x) of every unit, on one example or on several."""
    return jax.nn.relu(x @ params.w)


def outputs(params: Params, h: Float[Array, "*sample width"]) -> Float[Array, "*sample output"]:
    """The outputs for given hidden activity."""
    return h @ params.a.T


def path_norm(params: Params) -> Float[Array, ""]:
    """The sum of |a_j||w_j| over the units."""
    return jnp.sum(jnp.linalg.norm(params.a, axis=0) * jnp.linalg.norm(params.w, axis=0))
