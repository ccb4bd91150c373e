r"""Boolean features: products of chosen bits of a uniform input of signs.

Inputs $x \in \{-1, 1\}^n$, uniform, and one output for every subset $S$ of the bits:

$$
y_S = \prod_{i \in S} x_i
$$

A single bit is an easy feature, a product of two is XOR, a product of $k$ is a parity of degree $k$. Products over different
subsets are uncorrelated, and over disjoint subsets independent. All have mean 0 and variance 1, except the empty product, which
is always 1.

Source: the setting of A. K. Lampinen, S. C. Y. Chan, K. Hermann, arXiv 2405.05847 (independent features, one easy and one hard;
abstract and summaries read); the cube of signs is the choice made here.

Example. The first bit, and XOR of the other two:

>>> import jax.numpy as jnp
>>> from closedform.tasks import boolean_features
>>> boolean_features.evaluate(((0,), (1, 2)), jnp.array([1.0, -1.0, 1.0])).tolist()
[1.0, -1.0]
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

MAX_BITS = 16  # of a cube that is listed: 65536 inputs


def cube(num_bits: int) -> Float[Array, "input bit"]:
    """All 2^num_bits inputs, one a row. Raises ValueError for fewer than 1 or more than 16 bits.

    >>> cube(2).tolist()
    [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """
    if not 1 <= num_bits <= MAX_BITS:
        raise ValueError(f"num_bits must be at least 1 and at most {MAX_BITS}, got {num_bits}")
    number = jnp.arange(2**num_bits)[:, None] >> jnp.arange(num_bits - 1, -1, -1)[None]
    return (2 * (number % 2) - 1).astype(jnp.result_type(float))


def sample(key: PRNGKeyArray, num_samples: int, num_bits: int) -> Float[Array, "sample bit"]:
    """Inputs drawn from the cube, of 1 and -1 with equal odds."""
    return jax.random.rademacher(key, (num_samples, num_bits), dtype=jnp.result_type(float))


def sample_packed(key: PRNGKeyArray, num_samples: int, num_bits: int) -> Float[Array, "sample bit"]:
    """Inputs drawn from the cube as by `sample`, 32 signs from each random word: other inputs, in a fraction of the time."""
    words = jax.random.bits(key, (num_samples, -(-num_bits // 32)), jnp.uint32)
    bits = (words[:, :, None] >> jnp.arange(32, dtype=jnp.uint32)[None, None]) & 1
    return (2 * bits.reshape(num_samples, -1)[:, :num_bits].astype(jnp.result_type(float))) - 1


def evaluate(subsets: Sequence[Sequence[int]], x: Float[Array, "*batch bit"]) -> Float[Array, "*batch feature"]:
    """The product over each subset of the bits, which are counted from 0. Raises ValueError for a bit that x has not.

    >>> evaluate(((), (0, 1)), jnp.array([[1.0, -1.0], [-1.0, -1.0]])).tolist()
    [[1.0, -1.0], [1.0, 1.0]]
    """
    require_bits(subsets, x.shape[-1])
    return jnp.stack([jnp.prod(x[..., jnp.array(subset, int)], axis=-1) for subset in subsets], axis=-1)


def require_bits(subsets: Sequence[Sequence[int]], num_bits: int) -> None:
    """Raises ValueError, in one line, for a subset with a bit that is not there or is named twice, and for no subset."""
    if not subsets:
        raise ValueError("subsets must be at least one list of bits, got none")
    for subset in subsets:
        if len(set(subset)) != len(subset) or not all(0 <= bit < num_bits for bit in subset):
            raise ValueError(f"subsets must be of different bits from 0 to {num_bits - 1}, got {tuple(subset)}")
