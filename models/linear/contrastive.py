r"""The spectral contrastive loss of a linear network, from covariances or from pairs, and what its layers make of features.

$$
\mathcal{L} = -2\, \mathbb{E} f(x) \cdot f(x^+) + \mathbb{E} (f(x) \cdot f(x^-))^2
= -2 \operatorname{tr} B C B^\top + \|B S B^\top\|^2, \qquad B = W_L \cdots W_1
$$

for a positive pair with covariance $C$ between its views, each of covariance $S$, and for $x^-$ independent of $x$.

| paper | name here | shape | meaning |
|---|---|---|---|
| $C$, $S$ | `clean`, `view` | (dim, dim) | covariance between the views of a sample, and of a view |
| | `energies` | (layer, feature) | $\|W_l \cdots W_1 u\|^2$ for each feature $u$: the square of its weight after layer $l$ |

Source: J. HaoChen et al., arXiv 2106.04156 (the loss, recalled); Y. Xue et al., arXiv 2403.11391 (for a linear network with a
projection head).

Example. One feature of variance 1 without noise is best of weight 1, where the loss is -1:

>>> import jax.numpy as jnp
>>> from closedform.models.linear import contrastive, deep_linear
>>> params = deep_linear.Params((jnp.ones((1, 1)), jnp.ones((1, 1))))
>>> float(contrastive.population_loss(params, jnp.ones((1, 1)), jnp.ones((1, 1))))
-1.0
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from . import deep_linear


def population_loss(
    params: deep_linear.Params, clean: Float[Array, "dim dim"], view: Float[Array, "dim dim"]
) -> Float[Array, ""]:
    """The loss of infinitely many pairs."""
    B = deep_linear.product(params)
    return -2 * jnp.sum((B @ clean) * B) + jnp.sum((B @ view @ B.T) ** 2)


def batch_loss(
    params: deep_linear.Params, x: Float[Array, "sample dim"], x_plus: Float[Array, "sample dim"]
) -> Float[Array, ""]:
    """The mean over pairs, negatives from all pairs of different samples; its mean over batches is the population loss.

    Raises ValueError for fewer than two samples.
    """
    count = len(x)
    if count < 2:
        raise ValueError(f"x must have at least 2 samples, got {count}")
    one, plus = (jax.vmap(deep_linear.apply, (None, 0))(params, part) for part in (x, x_plus))
    products = one @ plus.T
    positive = jnp.diagonal(products)
    negative = (jnp.sum(products**2) - jnp.sum(positive**2)) / (count * (count - 1))
    return -2 * jnp.mean(positive) + negative


def energies(params: deep_linear.Params, basis: Float[Array, "dim feature"]) -> Float[Array, "layer feature"]:
    """|W_l .. W_1 u|^2 of each column u of the basis, for every layer."""
    return jnp.stack([jnp.sum((below @ basis) ** 2, axis=0) for below in deep_linear.products(params)])


def mixing(params: deep_linear.Params, basis: Float[Array, "dim feature"]) -> Float[Array, "layer"]:
    """How far features are mixed after each layer: the norm of the Gram matrix in this basis off its diagonal, over its norm.

    It is 0 where features stay orthogonal.
    """

    def off_diagonal(below: Float[Array, "out dim"]) -> Float[Array, ""]:
        gram = (below @ basis).T @ (below @ basis)
        size = jnp.linalg.norm(gram)
        return jnp.linalg.norm(gram - jnp.diag(jnp.diagonal(gram))) / jnp.where(size > 0, size, 1)

    return jnp.stack([off_diagonal(below) for below in deep_linear.products(params)])
