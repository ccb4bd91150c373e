r"""Regression on the outputs of a random two-layer ReLU network, with noise.

With $m$ neurons (`width`) and $d$ inputs (`dim`),

$$
\begin{align*}
y &= \frac{1}{\sqrt{m}} \sum_j b_j \operatorname{relu}(w_j \cdot x) + \text{noise} \\
x &\;\sim\; N(0, 1)^d, \qquad w_j \;\sim\; N(0, 1/d)^d, \qquad b_j \;\sim\; N(0, 1)
\end{align*}
$$

Source: the usual teacher of the teacher-student setting.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def sample(
    key: PRNGKeyArray, num_samples: int, dim: int, width: int = 10, noise_std: float = 0.1
) -> tuple[Float[Array, "num_samples dim"], Float[Array, "num_samples"]]:
    """x and y of one teacher, drawn from the same key."""
    if min(num_samples, dim, width) < 1:
        raise ValueError(f"num_samples, dim and width must be at least 1, got {num_samples}, {dim}, {width}")
    key_x, key_w, key_b, key_noise = jax.random.split(key, 4)
    x = jax.random.normal(key_x, (num_samples, dim))
    w = jax.random.normal(key_w, (dim, width)) / jnp.sqrt(dim)
    b = jax.random.normal(key_b, (width,)) / jnp.sqrt(width)
    return x, jax.nn.relu(x @ w) @ b + noise_std * jax.random.normal(key_noise, (num_samples,))
