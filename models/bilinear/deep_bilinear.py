r"""Bilinear layers on top of one another, with or without residual connections: polynomials, which can be split by degree.

$$
x_{l+1} = [x_l] + B_l(x_l, x_l), \qquad f(x_0) = H x_L
$$

with the term in brackets, the residual connection, or without it, and a linear head $H$. Without it $f$ is homogeneous of
degree $2^L$, that is $f(c x) = c^{2^L} f(x)$; with it $f$ has the degrees 1 to $2^L$. All layers have the dimension of the
input.

| paper | name here | shape | meaning |
|---|---|---|---|
| $L$ | `num_layers` | | layers |
| $B_l$ | `layers.w[l]`, `layers.v[l]`, `layers.p[l]` | | as in `models.bilinear.bilinear`, with as many outputs as inputs |
| $H$ | `head` | (num_outputs, dim) | linear |

Source: Sharkey, arXiv 2305.03452 (tensors of several layers); the expansion by degree is derived here.

Example. Two layers make a form of degree four: twice the input gives $2^4$ times the output.

>>> import jax
>>> from closedform.models.bilinear import deep_bilinear
>>> params = deep_bilinear.init(jax.random.key(0), deep_bilinear.Config(dim=3, width=4, num_layers=2))
>>> x = jax.random.normal(jax.random.key(1), (3,))
>>> round(float((deep_bilinear.apply(params, 2 * x) / deep_bilinear.apply(params, x))[0]), 4)
16.0
>>> deep_bilinear.by_degree(params, x, residual=True).shape
(5, 1)
"""

from dataclasses import dataclass
from math import comb
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, NonNegative, check
from ...documented import documented
from .._example import one_example
from . import bilinear


@dataclass(frozen=True)
class Config:
    dim: Count = 4  # of the input and of every layer
    width: Count = 8  # hidden units of a layer
    num_outputs: Count = 1
    num_layers: Count = 2  # layers, paper L
    residual: bool = False  # x + B(x, x) in place of B(x, x)
    init_scale: NonNegative = 1.0  # as in models.bilinear.bilinear, whose init is "gaussian"

    def __post_init__(self):
        check(self)

    @property
    def layer(self) -> bilinear.Config:
        """The configuration of one layer."""
        return bilinear.Config(self.dim, self.width, self.dim, init_scale=self.init_scale)


@documented
class Params(NamedTuple):
    layers: bilinear.Params  # one leading axis, the layer
    head: Float[Array, "output dim"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Every layer as models.bilinear.bilinear draws it; the head N(0, 1/dim)."""
    key_layers, key_head = jax.random.split(key)
    layers = jax.vmap(lambda one: bilinear.init(one, config.layer))(jax.random.split(key_layers, config.num_layers))
    return Params(layers, jax.random.normal(key_head, (config.num_outputs, config.dim)) / jnp.sqrt(config.dim))


@one_example
def apply(params: Params, x: Float[Array, "dim"], residual: bool = False) -> Float[Array, "output"]:
    """The outputs on one example; `residual` as in the Config."""

    def layer(x: Array, one: bilinear.Params) -> tuple[Array, None]:
        y = bilinear.apply(one, x)
        return x + y if residual else y, None

    return params.head @ jax.lax.scan(layer, x, params.layers)[0]


def by_degree(params: Params, x: Float[Array, "dim"], residual: bool = False) -> Float[Array, "degree output"]:
    """f(x) split into the parts of degree 0, 1, ..., 2^L, whose sum it is: f(c x) = sum_k c^k by_degree_k.

    A layer multiplies two polynomials in c. Cost and memory grow as 4^L.
    """
    parts = jnp.stack([jnp.zeros_like(x), x])  # degrees 0 and 1
    for index in range(params.layers.w.shape[0]):
        w, v, p = jax.tree.map(lambda leaf, at=index: leaf[at], params.layers)
        top = 2 * (len(parts) - 1)
        left, right = parts @ w, parts @ v
        product = sum(jnp.pad(one[None] * right, ((k, top + 1 - k - len(parts)), (0, 0))) for k, one in enumerate(left))
        raised = jnp.pad(parts, ((0, top + 1 - len(parts)), (0, 0)))
        parts = product @ p.T + raised if residual else product @ p.T
    return parts @ params.head.T


def two_layer_tensor(params: Params) -> Float[Array, "output dim dim dim dim"]:
    """T_oijkl = sum_ab (H B_2)_oab B_1,aij B_1,bkl of two layers without residual: f_o(x) = sum T_oijkl x_i x_j x_k x_l.

    Not symmetrised. Raises ValueError for another number of layers.
    """
    num_layers = params.layers.w.shape[0]
    if num_layers != 2:
        raise ValueError(f"the tensor of fourth order needs two layers, got {num_layers}")
    first, second = jax.vmap(bilinear.tensor)(params.layers)
    return jnp.einsum("op,pab,aij,bkl->oijkl", params.head, second, first, first)


def num_coefficients(dim: int, num_layers: int) -> int:
    """Coefficients of a general homogeneous polynomial of degree p = 2^num_layers: binomial(dim + p - 1, p).

    >>> num_coefficients(3, 1), num_coefficients(4, 2)
    (6, 35)
    """
    return comb(dim + 2**num_layers - 1, 2**num_layers)
