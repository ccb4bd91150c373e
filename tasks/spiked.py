r"""Noise with one direction in it: vectors with a covariance spike, a symmetric matrix with one, squares of a projection.

$$
x \sim N(0,\; I + \ell\, v v^\top/d), \qquad Y = \lambda\, v v^\top/d + W, \qquad y = \langle x, v \rangle^2/d
$$

with a random $v \in \{-1, 1\}^d$. $W$ is symmetric with independent Gaussian entries, of variance $1/d$ above the diagonal and
$2/d$ on it.

| name here | shape | meaning |
|---|---|---|
| `spike` | (dim,) | $v$, of norm $\sqrt d$ |
| `strength` | | $\ell$ or $\lambda$ |

Source: textbook (J. Baik, G. Ben Arous, S. Péché, 2005, doi 10.1214/009117905000000233, recalled).

Example. A strong spike is the top eigenvector:

>>> import jax
>>> from closedform.tasks import spiked
>>> v = spiked.spike(jax.random.key(0), 50)
>>> matrix = spiked.wigner(jax.random.key(1), v, 100.0)
>>> top = jax.numpy.linalg.eigh(matrix)[1][:, -1]
>>> bool((top @ v) ** 2 / 50 > 0.999)
True
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

Number = Real[ArrayLike, ""]


def spike(key: PRNGKeyArray, dim: int) -> Float[Array, "dim"]:
    """v, with entries +1 and -1.

    >>> float((spike(jax.random.key(0), 7) ** 2).sum())
    7.0
    """
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    return jax.random.rademacher(key, (dim,), float)


def covariance(key: PRNGKeyArray, num_samples: int, spike: Float[Array, "dim"], strength: Number) -> Float[Array, "sample dim"]:
    """Vectors of mean 0 and covariance 1 + strength v v^T/d."""
    z = _inputs(key, num_samples, spike)
    along = z @ spike / jnp.sum(spike**2)
    return z + (jnp.sqrt(1 + strength) - 1) * along[:, None] * spike[None]


def wigner(key: PRNGKeyArray, spike: Float[Array, "dim"], strength: Number) -> Float[Array, "dim dim"]:
    """A symmetric matrix of noise with strength v v^T/d added."""
    dim = len(spike)
    noise = jax.random.normal(key, (dim, dim), spike.dtype) / jnp.sqrt(jnp.asarray(2 * dim, spike.dtype))
    return noise + noise.T + strength * spike[:, None] * spike[None] / dim


def squares(
    key: PRNGKeyArray, num_samples: int, spike: Float[Array, "dim"]
) -> tuple[Float[Array, "sample dim"], Float[Array, "sample"]]:
    """Standard normal inputs and their squared projections <x, v>^2/d, from which phase retrieval has to find v."""
    x = _inputs(key, num_samples, spike)
    return x, (x @ spike) ** 2 / len(spike)


def _inputs(key: PRNGKeyArray, num_samples: int, spike: Float[Array, "dim"]) -> Float[Array, "sample dim"]:
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")
    return jax.random.normal(key, (num_samples, len(spike)), spike.dtype)
