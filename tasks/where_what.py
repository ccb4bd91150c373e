r"""A task of two factors, where and what: each pair of values has a linear map of its own, which may be a product of two.

$$
y = T_{ab}\, x, \qquad x \sim N(0, I_d), \qquad a, b \ \text{independent and uniform}
$$

`product_table` draws $T_{ab} = B_b A_a/\sqrt h + \sigma\, \xi_{ab}$ with standard normal entries of all three, and
`spectrum_table` a table whose matrix, with the block $T_{ab}$ in row $b$ and column $a$, has given singular values in random
bases.

Source: the two factors of jittered MNIST in D. Eigen, M. Ranzato, I. Sutskever, arXiv 1312.4314 (abstract read); the linear
task is ours.

Example. A table of spectrum (2, 1) has the mean square 5 over the pairs:

>>> import jax
>>> from closedform.tasks import where_what
>>> table = where_what.spectrum_table(jax.random.key(0), (2.0, 1.0), 2, 3, 2, 2)
>>> table.shape, round(float((table**2).sum()), 4)
((2, 3, 2, 2), 5.0)
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..documented import documented

Table = Float[Array, "where what output dim"]


@documented
class Sample(NamedTuple):
    x: Float[Array, "sample dim"]
    where: Int[Array, "sample"]  # a, from 0
    what: Int[Array, "sample"]  # b, from 0
    y: Float[Array, "sample output"]


def product_table(
    key: PRNGKeyArray, num_where: int, num_what: int, num_outputs: int, dim: int, rank: int, noise_std: float | Array = 0.0
) -> Table:
    """T_ab = B_b A_a/sqrt(rank) + noise: without noise the matrix of all maps has that rank, if it fits."""
    shapes = (num_where, rank, dim), (num_what, num_outputs, rank), (num_where, num_what, num_outputs, dim)
    sizes = [math.prod(shape) for shape in shapes]
    numbers = jnp.split(jax.random.normal(key, (sum(sizes),)), list(itertools.accumulate(sizes[:-1])))
    A, B, noise = (part.reshape(shape) for part, shape in zip(numbers, shapes, strict=True))
    return jnp.einsum("boh,ahd->abod", B, A) / math.sqrt(rank) + noise_std * noise


def spectrum_table(
    key: PRNGKeyArray, spectrum: Sequence[float] | Array, num_where: int, num_what: int, num_outputs: int, dim: int
) -> Table:
    """A table whose matrix has these singular values, and 0 for the rest. Raises ValueError for more than there can be."""
    rows, columns = num_what * num_outputs, num_where * dim
    if len(spectrum) > min(rows, columns):
        raise ValueError(f"spectrum must have at most {min(rows, columns)} values, got {len(spectrum)}")
    keys = jax.random.split(key)
    left, right = (jax.random.orthogonal(one, size, m=len(spectrum)) for one, size in zip(keys, (rows, columns), strict=True))
    return from_matrix((left * jnp.asarray(spectrum, left.dtype)[None]) @ right.T, num_where, num_what)


def matrix(table: Table) -> Float[Array, "row column"]:
    """The block T_ab in row b and column a."""
    where, what, output, dim = table.shape
    return jnp.transpose(table, (1, 2, 0, 3)).reshape(what * output, where * dim)


def from_matrix(matrix: Float[Array, "row column"], num_where: int, num_what: int) -> Table:
    """The inverse of `matrix`."""
    rows, columns = matrix.shape
    return jnp.transpose(matrix.reshape(num_what, rows // num_what, num_where, columns // num_where), (2, 0, 1, 3))


def sample(key: PRNGKeyArray, num_samples: int, table: Table) -> Sample:
    """Inputs, factors and targets."""
    key_x, key_pair = jax.random.split(key)
    num_where, num_what, _, dim = table.shape
    x = jax.random.normal(key_x, (num_samples, dim), table.dtype)
    pair = jax.random.randint(key_pair, (num_samples,), 0, num_where * num_what)
    where, what = pair // num_what, pair % num_what
    return Sample(x, where, what, jnp.einsum("nod,nd->no", table[where, what], x))


def marked(drawn: Sample, num_where: int, num_what: int) -> Float[Array, "sample entry"]:
    """The inputs with both factors written before them, each as a one-hot vector: what a learned gate reads.

    >>> marked(Sample(jnp.ones((1, 1)), jnp.array([1]), jnp.array([0]), jnp.ones((1, 1))), 2, 2).tolist()
    [[0.0, 1.0, 1.0, 0.0, 1.0]]
    """
    factors = (jax.nn.one_hot(drawn.where, num_where), jax.nn.one_hot(drawn.what, num_what))
    return jnp.concatenate([*(one.astype(drawn.x.dtype) for one in factors), drawn.x], axis=1)
