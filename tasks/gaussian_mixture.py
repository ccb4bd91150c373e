r"""Two Gaussian clusters, one for each label, whose centres are opposite.

$$
x = y\, v/\sqrt d + \sqrt \Delta\, \xi, \qquad \xi \sim N(0, I_d), \qquad P(y = 1) = p
$$

With $|v|^2 = d$ the centres are at distance 1 from the origin, and $\Delta$ is the variance of a coordinate. As for the other
tasks of high dimension, a model takes the features $x/\sqrt d$.

| paper | name here | shape | meaning |
|---|---|---|---|
| $v$ | `centre` | (dim,) | direction of the centres, as `generalised_linear.teacher` draws it |
| $\Delta$ | `noise_variance` | | variance of a coordinate around its centre |
| $p$ | `positive_share` | | probability of the label 1 |

Source: Mignacco, Krzakala, Lu and Zdeborova, arXiv 2002.11544 (abstract and setting read).

Example. Without noise all inputs are centres:

>>> import jax
>>> from closedform.tasks import gaussian_mixture
>>> x, y = gaussian_mixture.sample(jax.random.key(0), 6, 2 * jax.numpy.ones(4), noise_variance=0.0)
>>> bool((x == y[:, None]).all())
True
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Real

Number = float | Real[Array, ""]


def sample(
    key: PRNGKeyArray,
    num_samples: int,
    centre: Float[Array, "dim"],
    noise_variance: Number = 1.0,
    positive_share: Number = 0.5,
) -> tuple[Float[Array, "num_samples dim"], Float[Array, "num_samples"]]:
    """Inputs and labels -1 and 1; each label is drawn by itself, so that their shares scatter."""
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")
    key_label, key_noise = jax.random.split(key)
    label = jax.random.uniform(key_label, (num_samples,), centre.dtype) < positive_share
    y = jnp.where(label, 1, -1).astype(centre.dtype)
    noise = jax.random.normal(key_noise, (num_samples, centre.size), centre.dtype)
    root = jnp.sqrt(jnp.asarray(centre.size, centre.dtype))
    return y[:, None] * centre[None] / root + jnp.sqrt(noise_variance) * noise, y
