r"""A linear convolutional network: filters, the average over all places, and the sum over filters.

$$
f(x) = \sum_{k=1}^{K} \frac{1}{J} \sum_{j=1}^{J} w_k \cdot p_j(x)
$$

with the patches $p_j$ of the image, at all places where a filter fits (no padding). Nothing but the filters is trained.
`patches`, `principal_components`, `energies` and `responses` are the quantities in which first layers are compared, of this
network and of others.

| paper | name here | shape | meaning |
|---|---|---|---|
| $w_k$ | `filters[k]` | (num_filters, side, side, channels) | filters; a row of `bank` once flattened |
| $p_j$ | `patches(x, side)` | (rows, columns, weights) | pixels under a filter, in the order of its weights |
| $K$, $J$ | `num_filters` | | filters, places |
| $\sigma$ | `init_scale` | | standard deviation of the weights at the start |
| $u_i$, $\lambda_i^2$ | `Components` | (weights, components), (components,) | principal components of patches |
| $e_i^2$ | `energies` | (components,) | mean over filters of $(w_k \cdot u_i)^2$; the paper's profile is the root |

Source: Chowers and Weiss, arXiv 2206.02454, sections 2 and 4.

Example. The network sees an image by its average patch:

>>> import jax
>>> from closedform.models.convolutional import linear_cnn
>>> config = linear_cnn.Config(channels=1, side=2, num_filters=3)
>>> params = linear_cnn.init(jax.random.key(0), config)
>>> x = jax.random.normal(jax.random.key(1), (5, 4, 1))
>>> average = linear_cnn.patches(x, 2).mean((0, 1))
>>> bool(abs(linear_cnn.apply(params, x) - (linear_cnn.bank(params) @ average).sum()) < 1e-6)
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


@dataclass(frozen=True)
class Config:
    channels: Count = 3  # of the image: 3 of a colour photograph, 1 of a grey one
    side: Count = 3  # pixels along an edge of a filter
    num_filters: Count = 8  # filters, paper K
    init_scale: NonNegative = 0.1  # standard deviation of the weights at the start, paper sigma

    def __post_init__(self):
        check(self)


@documented
class Params(NamedTuple):
    filters: Float[Array, "filter side side channel"]


@documented
class Components(NamedTuple):
    """Principal components of patches, by falling eigenvalues."""

    eigenvalues: Float[Array, "component"]  # of the second moment of the patches, about 0
    vectors: Float[Array, "weight component"]  # one a column


def init(key: PRNGKeyArray, config: Config) -> Params:
    """Independent Gaussian weights."""
    shape = config.num_filters, config.side, config.side, config.channels
    return Params(config.init_scale * jax.random.normal(key, shape))


@one_example
def apply(params: Params, x: Float[Array, "height width channel"]) -> Float[Array, ""]:
    """The output for one image. Raises ValueError for an image that is smaller than a filter."""
    return pooled(params, patches(x, params.filters.shape[1]))


def pooled(params: Params, seen: Float[Array, "row column weight"]) -> Float[Array, ""]:
    """The output for the patches of one image."""
    return jnp.sum(jnp.mean(responses(bank(params), seen), axis=(0, 1)))


def responses(filters: Float[Array, "filter weight"], seen: Float[Array, "*place weight"]) -> Float[Array, "*place filter"]:
    """w_k . p_j, what every filter of a bank answers to every patch."""
    return seen @ filters.T


def bank(params: Params) -> Float[Array, "filter weight"]:
    """The filters, flattened in the order of the pixels of a patch."""
    return params.filters.reshape(len(params.filters), -1)


def patches(x: Float[Array, "height width channel"], side: int) -> Float[Array, "row column weight"]:
    """The pixels under a filter at every place where it fits: rows, columns, channels. Raises ValueError if there is none."""
    height, width, channels = x.shape
    rows, columns = height - side + 1, width - side + 1
    if side < 1 or min(rows, columns) < 1:
        raise ValueError(f"x must be at least as large as a filter of {side} x {side} pixels, got shape {x.shape}")
    windows = [x[i : i + rows, j : j + columns] for i in range(side) for j in range(side)]
    return jnp.stack(windows, axis=2).reshape(rows, columns, side * side * channels)


def principal_components(seen: Float[Array, "*place weight"]) -> Components:
    """Eigenvectors of the second moment of patches. It is about 0, as in the paper: centre the images first."""
    flat = seen.reshape(-1, seen.shape[-1])
    values, vectors = jnp.linalg.eigh(flat.T @ flat / len(flat))
    return Components(values[::-1], vectors[:, ::-1])


def energies(filters: Float[Array, "filter weight"], vectors: Float[Array, "weight component"]) -> Float[Array, "component"]:
    """e_i^2, the mean over filters of the squared coefficient of each component.

    >>> energies(jnp.array([[3.0, 0.0], [1.0, 2.0]]), jnp.eye(2)).tolist()
    [5.0, 2.0]
    """
    return jnp.mean((filters @ vectors) ** 2, axis=0)
