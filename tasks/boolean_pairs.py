r"""All pairs of independent random bits, each with one Boolean operation: AND, OR or XOR of every two inputs.

Inputs $x \in \{0, 1\}^d$, each 1 with the given probability, and one output for every $i < j$:

$$
y_{ij} = \text{table}[x_i + x_j]
$$

Source: toy task of Pearce, Dooms, Rigg, Oramas and Sharkey, arXiv 2410.08417 (its published code: probability 0.3, 4 inputs).

Example. XOR of the pairs (0, 1), (0, 2), (1, 2) of three bits:

>>> import jax.numpy as jnp
>>> from closedform.tasks import boolean_pairs
>>> table = jnp.array(boolean_pairs.TABLES["xor"])
>>> boolean_pairs.evaluate(table, jnp.array([1.0, 0.0, 1.0])).tolist()
[1.0, 0.0, 1.0]
"""

import itertools
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

Operation = Literal["and", "or", "xor"]
# values of y at x_i + x_j = 0, 1, 2
TABLES: dict[Operation, tuple[float, float, float]] = {"and": (0.0, 0.0, 1.0), "or": (0.0, 1.0, 1.0), "xor": (0.0, 1.0, 0.0)}


def pairs(dim: int) -> tuple[tuple[int, int], ...]:
    """The pairs of inputs, in the order of the outputs.

    >>> pairs(3)
    ((0, 1), (0, 2), (1, 2))
    """
    return tuple(itertools.combinations(range(dim), 2))


def sample(key: PRNGKeyArray, num_samples: int, dim: int, probability: Real[ArrayLike, ""] = 0.3) -> Float[Array, "sample dim"]:
    """Inputs of zeros and ones."""
    return jax.random.bernoulli(key, probability, (num_samples, dim)).astype(jnp.result_type(float))


def evaluate(table: Float[Array, "3"], x: Float[Array, "dim"]) -> Float[Array, "pair"]:
    """Every output on one example, by the values of the operation."""
    first, second = (jnp.array(side) for side in zip(*pairs(x.size), strict=True))
    return table[(x[first] + x[second]).astype(int)]
