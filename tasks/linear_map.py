r"""A linear map as a task: labels A x for inputs of a chosen covariance, by second moments or in samples.

$$
\Sigma_x = \mathbb{E}\, x x^\top, \qquad \Sigma = \mathbb{E}\, y x^\top = A \Sigma_x, \qquad
\mathbb{E} |y|^2 = \operatorname{tr}(A \Sigma_x A^\top)
$$

A linear network on the population loss sees the task by these three alone.

| name here | shape | meaning |
|---|---|---|
| `covariance` | (dim, dim) | $\Sigma_x$ |
| `cross` | (output, dim) | $\Sigma$ |
| `square` | | $\mathbb{E} \lvert y \rvert^2$, with label noise if there is any |

Source: textbook (A. Saxe et al., arXiv 1312.6120, recalled).

Example. White inputs and chosen singular values, in random bases:

>>> import jax
>>> from closedform.tasks import linear_map
>>> task = linear_map.whitened(jax.random.key(0), jax.numpy.array([2.0, 1.0]), num_outputs=3, dim=4)
>>> [round(float(s), 5) for s in jax.numpy.linalg.svd(task.cross, compute_uv=False)], round(float(task.square), 4)
([2.0, 1.0, 0.0], 5.0)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

from ..documented import documented


@documented
class Task(NamedTuple):
    covariance: Float[Array, "dim dim"]  # E x x^T
    cross: Float[Array, "output dim"]  # E y x^T
    square: Float[Array, ""]  # E |y|^2


@documented
class Bases(NamedTuple):
    """The singular vectors of a map, one a column: of number i the i-th singular value."""

    left: Float[Array, "output mode"]
    right: Float[Array, "dim mode"]


def moments(matrix: Real[ArrayLike, "output dim"], covariance: Real[ArrayLike, "_ _"]) -> Task:
    """The task of a given map on inputs of a given covariance.

    >>> [float(part.sum()) for part in moments(jnp.array([[1.0, 2.0]]), jnp.diag(jnp.array([2.0, 1.0])))]
    [3.0, 4.0, 6.0]
    """
    A, moment = jnp.asarray(matrix, float), jnp.asarray(covariance, float)
    if A.ndim != 2 or moment.shape != (A.shape[-1],) * 2:
        raise ValueError(
            f"covariance must have the shape (dim, dim) of a matrix (output, dim), got {moment.shape} and {A.shape}"
        )
    cross = A @ moment
    return Task(moment, cross, jnp.sum(cross * A))


def bases(key: PRNGKeyArray, num_modes: int, num_outputs: int, dim: int) -> Bases:
    """Random singular vectors, uniform on the orthonormal frames."""
    if not 1 <= num_modes <= min(num_outputs, dim):
        raise ValueError(f"num_modes must be from 1 to min(num_outputs, dim) = {min(num_outputs, dim)}, got {num_modes}")
    key_left, key_right = jax.random.split(key)
    return Bases(*(jax.random.orthogonal(one, n, m=num_modes) for one, n in ((key_left, num_outputs), (key_right, dim))))


def whitened(key: PRNGKeyArray, singular_values: Real[ArrayLike, "mode"], num_outputs: int, dim: int) -> Task:
    """A map of these singular values in random bases, on white inputs."""
    values = jnp.asarray(singular_values, float)
    return in_bases(values, bases(key, len(values), num_outputs, dim))


def in_bases(singular_values: Real[ArrayLike, "mode"], vectors: Bases) -> Task:
    """The map of these singular values and vectors, on white inputs."""
    left, right = vectors
    values = jnp.asarray(singular_values, left.dtype)
    return Task(jnp.eye(len(right), dtype=left.dtype), (left * values[None, :]) @ right.T, jnp.sum(values**2))


def sample(
    key: PRNGKeyArray,
    num_samples: int,
    matrix: Float[Array, "output dim"],
    covariance_root: Float[Array, "dim dim"] | None = None,
    noise_std: float | Float[Array, ""] = 0.0,
) -> tuple[Float[Array, "num_samples dim"], Float[Array, "num_samples output"]]:
    """Gaussian inputs R z of covariance R R^T (white without R) and labels A x with noise of this deviation."""
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")
    key_x, key_noise = jax.random.split(key)
    x = jax.random.normal(key_x, (num_samples, matrix.shape[1]), matrix.dtype)
    x = x if covariance_root is None else x @ covariance_root.T
    noise = jax.random.normal(key_noise, (num_samples, matrix.shape[0]), matrix.dtype)
    return x, x @ matrix.T + noise_std * noise
