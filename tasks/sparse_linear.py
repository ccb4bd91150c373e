r"""Linear regression on sparse weights: a fixed number of Gaussian entries among zeros, Gaussian inputs, Gaussian noise.

$$
y = \frac{\langle x, \theta \rangle}{\sqrt d} + \sigma \xi, \qquad x \sim N(0, I_d)
$$

Of the `dim` entries of $\theta$ exactly `num_nonzero` differ from 0, at random places, and their mean square is exactly the
variance that is asked for: what a seed would scatter about them by is of the order of everything else that is measured.

| name here | shape | meaning |
|---|---|---|
| `theta` | (dim,) | weights |
| `x` | (num_samples, dim) | inputs, not divided by $\sqrt d$ |
| `y` | (num_samples,) | labels |

Source: textbook (D. Donoho, A. Maleki, A. Montanari, arXiv 0907.3574, recalled).

Example. Two of five weights, of mean square 3:

>>> import jax
>>> from closedform.tasks import sparse_linear
>>> theta = sparse_linear.weights(jax.random.key(0), 5, 2, 3.0)
>>> int((theta != 0).sum()), round(float((theta**2).sum()), 5)
(2, 6.0)
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real


def weights(key: PRNGKeyArray, dim: int, num_nonzero: int, slab_variance: Real[ArrayLike, ""] = 1.0) -> Float[Array, "dim"]:
    """theta: its sum of squares is num_nonzero * slab_variance."""
    if not 0 <= num_nonzero <= dim:
        raise ValueError(f"num_nonzero must be from 0 to dim {dim}, got {num_nonzero}")
    key_value, key_place = jax.random.split(key)
    values = jax.random.normal(key_value, (num_nonzero,))
    values = values * jnp.sqrt(num_nonzero * slab_variance / jnp.sum(values**2))
    places = jax.random.permutation(key_place, dim)[:num_nonzero]
    return jnp.zeros(dim, values.dtype).at[places].set(values)


def sample(
    key: PRNGKeyArray, num_samples: int, theta: Float[Array, "dim"], noise_std: Real[ArrayLike, ""] = 0.0
) -> tuple[Float[Array, "sample dim"], Float[Array, "sample"]]:
    """Inputs and labels.

    >>> x, y = sample(jax.random.key(0), 3, jnp.array([2.0, 0.0, 0.0, 0.0]))
    >>> bool(jnp.allclose(y, x[:, 0]))
    True
    """
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")
    key_x, key_noise = jax.random.split(key)
    x = jax.random.normal(key_x, (num_samples, len(theta)), theta.dtype)
    noise = jax.random.normal(key_noise, (num_samples,), theta.dtype)
    return x, x @ theta / jnp.sqrt(jnp.asarray(len(theta), theta.dtype)) + noise_std * noise
