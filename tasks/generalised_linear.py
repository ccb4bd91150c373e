r"""Teachers of a generalised linear model: labels or noisy numbers of one random direction of Gaussian inputs.

$$
x \sim N(0, I_d), \qquad u = \theta \cdot x/\sqrt d, \qquad |\theta|^2 = \rho\, d
$$

and, with $\tau$ the `width` of the teacher and $\eta$ the share of `flips`,

| teacher | law |
|---|---|
| sign | $y = \operatorname{sign} u$, the probit teacher of width 0 |
| probit | $P(y = 1 \mid u) = \Phi(u/\tau)$ |
| logit | $P(y = 1 \mid u) = 1/(1 + e^{-u})$ |
| flips, on top of any of them | $P(y = 1 \mid u) = \eta + (1 - 2 \eta) P_0(y = 1 \mid u)$ |
| numbers | $y = u + \sqrt{\Delta_k}\, g$, with component $k$ of the noise drawn with probability $p_k$ |

The norm of the teacher is fixed exactly: its scatter, of order $d^{-1/2}$, would be as large as that of all which is measured.
With flips of 1/2 the labels are random. Models of these tasks take the features $x/\sqrt d$.

Source: textbook.

Example. The norm is exact, and without width and flips the labels are signs:

>>> import jax
>>> from closedform.tasks import generalised_linear
>>> theta = generalised_linear.teacher(jax.random.key(0), dim=5, norm=2.0)
>>> x, y = generalised_linear.sample_labels(jax.random.key(1), 8, theta)
>>> round(float(theta @ theta), 5), bool((y == jax.numpy.sign(x @ theta)).all())
(10.0, True)
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Real

Number = float | Real[Array, ""]


def teacher(key: PRNGKeyArray, dim: int, norm: Number = 1.0) -> Float[Array, "dim"]:
    """A random direction theta with |theta|^2/dim = norm exactly."""
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    theta = jax.random.normal(key, (dim,))
    return theta * jnp.sqrt(dim * norm / jnp.sum(theta**2))


def sample_labels(
    key: PRNGKeyArray,
    num_samples: int,
    theta: Float[Array, "dim"],
    *,
    link: Literal["probit", "logit"] = "probit",
    width: Number = 0.0,
    flips: Number = 0.0,
) -> tuple[Float[Array, "num_samples dim"], Float[Array, "num_samples"]]:
    """Inputs and labels -1 and 1; `width` is that of the probit teacher alone."""
    if link not in ("probit", "logit"):
        raise ValueError(f'link must be "probit" or "logit", got {link!r}')
    key_x, key_label, key_flip = jax.random.split(key, 3)
    x, u = _inputs(key_x, num_samples, theta)
    if link == "logit":
        noise = jax.random.logistic(key_label, (num_samples,), theta.dtype)
    else:
        noise = width * jax.random.normal(key_label, (num_samples,), theta.dtype)
    y = jnp.where(u + noise < 0, -1, 1).astype(theta.dtype)
    return x, jnp.where(jax.random.uniform(key_flip, (num_samples,), theta.dtype) < flips, -y, y)


def sample_numbers(
    key: PRNGKeyArray,
    num_samples: int,
    theta: Float[Array, "dim"],
    noise_variances: Real[Array, "component"] | tuple[Number, ...] = (0.0,),
    noise_weights: Real[Array, "component"] | tuple[Number, ...] = (1.0,),
) -> tuple[Float[Array, "num_samples dim"], Float[Array, "num_samples"]]:
    """Inputs and noisy fields; each sample draws one of the variances of the noise, with these probabilities."""
    variances, weights = (jnp.asarray(part, theta.dtype) for part in (noise_variances, noise_weights))
    if variances.ndim != 1 or variances.shape != weights.shape:
        raise ValueError(f"noise_weights must be as many as noise_variances, got shapes {weights.shape} and {variances.shape}")
    key_x, key_component, key_noise = jax.random.split(key, 3)
    x, u = _inputs(key_x, num_samples, theta)
    place = jnp.sum(weights) * jax.random.uniform(key_component, (num_samples, 1), theta.dtype)
    component = jnp.sum(place >= jnp.cumsum(weights)[None, :-1], axis=1)
    return x, u + jnp.sqrt(variances[component]) * jax.random.normal(key_noise, (num_samples,), theta.dtype)


def _inputs(key: PRNGKeyArray, num_samples: int, theta: Array) -> tuple[Array, Array]:
    """x, and the fields u."""
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")
    x = jax.random.normal(key, (num_samples, theta.size), theta.dtype)
    return x, x @ theta / jnp.sqrt(jnp.asarray(theta.size, theta.dtype))
