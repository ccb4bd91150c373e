r"""Strings of bits, the languages PARITY and FIRST, and the rows that a transformer gets for a string.

PARITY is the set of strings with an odd number of ones, FIRST that of strings which begin with a one. A string of $n$ bits is
$N = n + 1$ tokens, one of them CLS, whose row the answer is read from. Rows begin with the word as a one-hot vector (0, 1, CLS)
and end with the positions that the languages need:

| | CLS | columns behind the word, of token $i$ counted from 0 |
|---|---|---|
| `parity_rows` | the last token | $i/N$ and $(-1)^i$ |
| `first_rows` | the first token | 1 at token 1, the first bit, else 0 |

Strings of several lengths are one array of bits, of which only the first `num_bits` count: `counts` of a string are 1 for its
tokens and 0 for the rows behind them.

Source: Chiang and Cholak, arXiv 2202.12172; positions after the authors' code (github.com/ndnlp/parity), where the learned
network has three indicators (CLS, first bit, others) in place of one: the word tells CLS.

Example. Two ones are even:

>>> import jax.numpy as jnp
>>> from closedform.tasks import languages
>>> bits = jnp.array([1, 0, 1, 1])
>>> bool(languages.parity(bits)), bool(languages.parity(bits, 3)), bool(languages.first(bits))
(True, False, True)
>>> languages.first_rows(bits[:2]).tolist()
[[0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]]
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

WORDS = ("0", "1", "CLS")
CLS = WORDS.index("CLS")
Length = Int[Array, ""] | int | None  # how many bits count; None: all


def sample(key: PRNGKeyArray, num_samples: int, num_bits: int) -> Int[Array, "sample bit"]:
    """Fair and independent bits."""
    if num_samples < 1 or num_bits < 1:
        raise ValueError(f"num_samples and num_bits must be at least 1, got {num_samples} and {num_bits}")
    return jax.random.bernoulli(key, 0.5, (num_samples, num_bits)).astype(int)


def with_ones(key: PRNGKeyArray, ones: Int[Array, ""] | int, size: int, num_bits: Length = None) -> Int[Array, "bit"]:
    """An array of `size` bits with that many ones, at random places among the first `num_bits`."""
    place = jnp.arange(size)
    drawn = jax.random.uniform(key, (size,))
    order = jnp.argsort(drawn if num_bits is None else jnp.where(place < num_bits, drawn, 2.0))
    return jnp.zeros(size, int).at[order].set((place < ones).astype(int))


def parity(bits: Int[Array, "bit"], num_bits: Length = None) -> Bool[Array, ""]:
    """Whether the number of ones is odd."""
    return num_ones(bits, num_bits) % 2 == 1


def first(bits: Int[Array, "bit"], num_bits: Length = None) -> Bool[Array, ""]:
    """Whether the first bit is a one."""
    return bits[0] == 1


def num_ones(bits: Int[Array, "bit"], num_bits: Length = None) -> Int[Array, ""]:
    """How many of the bits that count are ones."""
    return jnp.sum(bits if num_bits is None else jnp.where(jnp.arange(len(bits)) < num_bits, bits, 0))


def parity_rows(bits: Int[Array, "bit"], num_bits: Length = None) -> Float[Array, "token 5"]:
    """Rows of a string for PARITY; behind CLS, where fewer bits count, rows of no meaning."""
    length = len(bits) if num_bits is None else num_bits
    place = jnp.arange(len(bits) + 1)
    words = jnp.where(place == length, CLS, jnp.concatenate([bits, bits[:1]]))
    share = place.astype(float) / jnp.asarray(length + 1, float)
    return jnp.concatenate([one_hot(words), share[:, None], (1 - 2 * (place % 2)).astype(float)[:, None]], axis=1)


def first_rows(bits: Int[Array, "bit"], num_bits: Length = None) -> Float[Array, "token 4"]:
    """Rows of a string for FIRST; where fewer bits count, rows of no meaning behind them."""
    words = jnp.concatenate([jnp.array([CLS], bits.dtype), bits])
    return jnp.concatenate([one_hot(words), one_hot(jnp.arange(len(words)), 2)[:, 1:]], axis=1)


def first_classes(bits: Int[Array, "bit"], num_bits: Length = None) -> tuple[Float[Array, "4 4"], Float[Array, "4"]]:
    """A string for FIRST as its four kinds of rows, CLS, first bit, other zeros, other ones, and how many there are of each."""
    length = len(bits) if num_bits is None else num_bits
    words = jnp.array([CLS, 0, 0, 1], bits.dtype).at[1].set(bits[0])
    rows = jnp.concatenate([one_hot(words), jnp.eye(4)[1][:, None]], axis=1)
    ones = num_ones(bits, num_bits).astype(rows.dtype) - bits[0].astype(rows.dtype)
    return rows, jnp.array([1.0, 1.0, 0.0, 0.0]).at[2].set(jnp.asarray(length - 1, rows.dtype) - ones).at[3].set(ones)


def counts(bits: Int[Array, "bit"], num_bits: Length = None) -> Float[Array, "token"]:
    """1 for the tokens of the string (its bits and CLS), 0 for rows behind them."""
    length = len(bits) if num_bits is None else num_bits
    return (jnp.arange(len(bits) + 1) <= length).astype(float)


def one_hot(words: Any, size: int = len(WORDS)) -> Float[Array, "token word"]:
    """Rows of the identity."""
    return jax.nn.one_hot(words, size, dtype=float)


ROWS = {"parity": parity_rows, "first": first_rows}
LABELS = {"parity": parity, "first": first}
