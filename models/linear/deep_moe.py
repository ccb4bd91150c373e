r"""A deep mixture of experts: two layers, each a mixture of linear maps by a softmax gate that reads the layer's input.

$$
z = \phi\Big(\sum_{i=1}^{N_1} g^1_i(x)\, A_i x\Big), \qquad f(x) = \sum_{j=1}^{N_2} g^2_j(z)\, B_j z
$$

with $g^1 = \operatorname{softmax}(C_1 x)$ and $g^2 = \operatorname{softmax}(C_2 z)$, no biases, and $\phi$ the identity or
ReLU. `gated` is the network for gates from elsewhere, `maps` all the maps of its linear version, and `mutual_information` says
what a gate tells about a factor of the data.

| paper | name here | shape | meaning |
|---|---|---|---|
| $N_1$, $N_2$ | `num_first`, `num_second` | | experts of each layer |
| $A_i$ | `first[i]` | (width, dim) | experts of the first layer |
| $B_j$ | `second[j]` | (output, width) | experts of the second layer |
| $C_1$, $C_2$ | `gate_first`, `gate_second` | (first, dim), (second, width) | logits of the gates, before the softmax |

Experts of a layer that are all equal give the gate of that layer no gradient, whatever the gate: the symmetry must be broken
by the experts.

Source: D. Eigen, M. Ranzato, I. Sutskever, arXiv 1312.4314 (abstract read; the balance of assignments by running totals is
recalled). The linear case is ours.

Example. If all experts of a layer are equal, its gate has no say:

>>> import jax, jax.numpy as jnp
>>> from closedform.models.linear import deep_moe
>>> params = deep_moe.init(jax.random.key(0), deep_moe.Config(init_scale=1.0))
>>> equal = params._replace(first=jnp.broadcast_to(params.first[:1], params.first.shape))
>>> other = equal._replace(gate_first=params.gate_first + 1)
>>> bool(jnp.allclose(deep_moe.apply(equal, jnp.ones(5)), deep_moe.apply(other, jnp.ones(5))))
True
"""

import itertools
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...contract import Count, NonNegative, Positive, check
from ...documented import documented
from .._example import one_example


@dataclass(frozen=True)
class Config:
    dim: Count = 5  # input dimension
    width: Count = 4  # hidden units between the layers
    num_outputs: Count = 5
    num_first: Count = 3  # experts of the first layer, paper N_1
    num_second: Count = 4  # experts of the second layer, paper N_2
    activation: Literal["identity", "relu"] = "relu"  # of the hidden units
    init_scale: Positive = 0.05  # standard deviation of the weights of the experts at the start
    gate_scale: NonNegative = 0.0  # standard deviation of the weights of the gates; at 0 all experts count alike at the start

    def __post_init__(self):
        check(self)


@documented
class Params(NamedTuple):
    first: Float[Array, "first width dim"]
    second: Float[Array, "second output width"]
    gate_first: Float[Array, "first dim"]
    gate_second: Float[Array, "second width"]


@documented
class Gates(NamedTuple):
    """Weights of the experts of both layers, which add up to 1 in each."""

    first: Float[Array, "first"]
    second: Float[Array, "second"]


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Independent Gaussian weights."""
    first, second, dim, width = config.num_first, config.num_second, config.dim, config.width
    shapes = (first, width, dim), (second, config.num_outputs, width), (first, dim), (second, width)
    scales = config.init_scale, config.init_scale, config.gate_scale, config.gate_scale
    sizes = [math.prod(shape) for shape in shapes]
    numbers = jnp.split(jax.random.normal(key, (sum(sizes),)), list(itertools.accumulate(sizes[:-1])))
    parts = zip(scales, numbers, shapes, strict=True)
    return Params(*(jnp.asarray(scale, part.dtype) * part.reshape(shape) for scale, part, shape in parts))


@one_example
def apply(params: Params, x: Float[Array, "dim"], config: Config | None = None) -> Float[Array, "output"]:
    """The output for one example; `config` as given to init (its defaults if left out)."""
    activation = (config or Config()).activation
    first = jax.nn.softmax(params.gate_first @ x)
    z = hidden(params, x, first, activation)
    return _second(params, z, jax.nn.softmax(params.gate_second @ z))


def gates(params: Params, x: Float[Array, "dim"], config: Config | None = None) -> Gates:
    """Both gates on one example."""
    activation = (config or Config()).activation
    first = jax.nn.softmax(params.gate_first @ x)
    return Gates(first, jax.nn.softmax(params.gate_second @ hidden(params, x, first, activation)))


def gated(params: Params, x: Float[Array, "dim"], by: Gates, activation: str = "relu") -> Float[Array, "output"]:
    """The output for one example with these gates in place of the network's own."""
    return _second(params, hidden(params, x, by.first, activation), by.second)


def hidden(params: Params, x: Float[Array, "dim"], first: Float[Array, "first"], activation: str) -> Float[Array, "width"]:
    """z, the hidden units for a given gate of the first layer."""
    z = jnp.tensordot(first, params.first, 1) @ x
    return jax.nn.relu(z) if activation == "relu" else z


def _second(params: Params, z: Float[Array, "width"], second: Float[Array, "second"]) -> Float[Array, "output"]:
    return jnp.tensordot(second, params.second, 1) @ z


def maps(params: Params, first: Float[Array, "a first"], second: Float[Array, "b second"]) -> Float[Array, "a b output dim"]:
    """The maps of the network with linear experts, for every pair of a gate of the first and a gate of the second layer."""
    A = jnp.tensordot(first, params.first, 1)
    B = jnp.tensordot(second, params.second, 1)
    return jnp.einsum("boh,ahd->abod", B, A)


def factor_gate(num_values: int, gap: Float[Array, ""] | float) -> Float[Array, "value expert"]:
    """Gates that a factor drives: the softmax of the logit `gap` on the expert of the value, 0 on others; one-hot at infinity.

    >>> factor_gate(2, jnp.inf).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    other = jnp.exp(-jnp.asarray(gap, jnp.result_type(float)))
    eye = jnp.eye(num_values)
    return (eye + other * (1 - eye)) / (1 + (num_values - 1) * other)


def mutual_information(gate: Float[Array, "sample expert"], factor: Int[Array, "sample"], num_values: int) -> Float[Array, ""]:
    """I(expert; factor) in nats, of an expert drawn from the gate and a factor with values from 0, over these samples."""
    values = jax.nn.one_hot(factor, num_values, dtype=gate.dtype)
    joint = values.T @ gate / len(gate)
    return _entropy(jnp.sum(joint, axis=0)) + _entropy(jnp.sum(joint, axis=1)) - _entropy(joint)


def _entropy(p: Float[Array, "..."]) -> Float[Array, ""]:
    return -jnp.sum(jax.scipy.special.xlogy(p, p))


def balanced(
    gate: Float[Array, "sample expert"], totals: Float[Array, "expert"], margin: Float[Array, ""] | float
) -> Float[Array, "sample expert"]:
    """The gates without experts whose running total is above the mean of all by more than the margin, adding up to 1 again."""
    allowed = (totals <= jnp.mean(totals) + margin).astype(gate.dtype)
    kept = gate * allowed[None]
    return kept / jnp.sum(kept, axis=1, keepdims=True)
