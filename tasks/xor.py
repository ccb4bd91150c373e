r"""XOR as a two-sparse parity: x uniform on {-1, +1}^d with label y = -x_1 x_2, and its Gaussian variants.

Source: Glasgow, arXiv 2309.15111 (Boolean data); the Gaussian variants are those of the follow-ups. Labels do not
depend on coordinates $3, \ldots, d$. The four clusters are the values of $(x_1, x_2)$: $\pm\mu_1 = \pm(1, -1)$ with label $+1$
and $\pm\mu_2 = \pm(1, 1)$ with label $-1$.

Example. The label is a parity of two of the five coordinates:

>>> import jax
>>> from closedform.tasks import xor
>>> x, y = xor.sample(jax.random.key(0), num_samples=8, dim=5)
>>> x.shape, bool((y == -x[:, 0] * x[:, 1]).all())
((8, 5), True)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

CLUSTERS = np.array([[1, -1], [-1, 1], [1, 1], [-1, -1]])  # +mu_1, -mu_1, +mu_2, -mu_2
CLUSTER_LABELS = np.array([1, 1, -1, -1])


def sample(
    key: PRNGKeyArray, num_samples: int, dim: int
) -> tuple[Float[Array, "num_samples dim"], Float[Array, "num_samples"]]:
    """Boolean XOR: x uniform on {-1, +1}^dim and y = -x_1 x_2."""
    _check(num_samples, dim, least_dim=2)
    x = signs(key, num_samples, dim)
    return x, parity(x)


def parity(x: Float[Array, "*batch dim"]) -> Float[Array, "*batch"]:
    """-x_1 x_2, of one example or of any batch of them."""
    return -x[..., 0] * x[..., 1]


def sign_parity(x: Float[Array, "*batch dim"]) -> Float[Array, "*batch"]:
    """-sign(x_1 x_2), of one example or of any batch of them: the parity of real inputs as a class label."""
    return -jnp.sign(x[..., 0] * x[..., 1])


def sample_gaussian(
    key: PRNGKeyArray,
    num_samples: int,
    dim: int,
    label_fn: Callable[[Float[Array, "num_samples dim"]], Float[Array, "num_samples"]] = sign_parity,
) -> tuple[Float[Array, "num_samples dim"], Float[Array, "num_samples"]]:
    """Gaussian XOR: x standard normal, y = label_fn(x), which is `sign_parity` (classes) or `parity` (real-valued)."""
    _check(num_samples, dim, least_dim=2)
    x = jax.random.normal(key, (num_samples, dim))
    return x, label_fn(x)


def sample_cluster(key: PRNGKeyArray, num_samples: int, dim: int) -> Float[Array, "cluster num_samples dim"]:
    """Boolean points of each cluster, (x_1, x_2) given by CLUSTERS and the other coordinates fresh.

    The margin of a cluster is the mean of CLUSTER_LABELS * f over its points.
    """
    _check(num_samples, dim, least_dim=2)
    x = signs(key, len(CLUSTERS) * num_samples, dim).reshape(len(CLUSTERS), num_samples, dim)
    return x.at[..., :2].set(CLUSTERS[:, None].astype(x.dtype))


def signs(key: PRNGKeyArray, num_samples: int, dim: int) -> Float[Array, "num_samples dim"]:
    """Independent fair signs +-1 in the default float dtype; a key gives the same signs in every dtype.

    A random word yields one coordinate of 32 samples: a num_samples that 32 does not divide wastes part of the words.
    """
    _check(num_samples, dim, least_dim=1)
    num_rows = -(-num_samples // 32)
    words = jax.random.bits(key, (num_rows, dim), jnp.uint32)
    # Each bit in turn becomes the sign bit of the float32 number one. The bit is the slowest axis: then the contiguous
    # loop runs over whole rows of words with one constant shift.
    shifted = words[None] << jnp.arange(32, dtype=jnp.uint32)[:, None, None]
    x = jax.lax.bitcast_convert_type((shifted & np.uint32(1 << 31)) | np.float32(1).view(np.uint32), jnp.float32)
    return x.reshape(32 * num_rows, dim)[:num_samples].astype(jnp.result_type(float))


def _check(num_samples: int, dim: int, least_dim: int):
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")
    if dim < least_dim:
        raise ValueError(f"dim must be at least {least_dim}, got {dim}")
