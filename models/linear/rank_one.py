r"""Starts of rank one of a deep linear network, and how alike the features of different inputs are.

$$
W_1 = a\, u_1 \hat b^\top, \qquad W_l = a\, u_l u_{l-1}^\top, \qquad W_L = a\, u_{L-1}^\top
$$

with random unit vectors $u_l$: all hidden features of an input are $\hat b \cdot x$ times a vector that does not depend on it.

| paper | name here | shape | meaning |
|---|---|---|---|
| $a$ | `config.scale` | | norm of each layer |
| $\hat b$ | `direction` | (dim,) | unit vector along which the network reads its input |

Source: derived here; the likeness of features on a plateau of training is from D. Liu et al., arXiv 2112.00980.

Example. Whatever the inputs, the features are parallel:

>>> import jax
>>> from closedform.models.linear import deep_linear, rank_one
>>> config = deep_linear.Config(dim=3, widths=(4, 4), num_outputs=1, scale=0.1)
>>> params = rank_one.start(jax.random.key(0), config, jax.numpy.array([1.0, 2.0, 0.0]))
>>> x = jax.numpy.array([[1.0, 0.0, 5.0], [0.0, 3.0, -1.0]])
>>> first, second, _ = jax.vmap(deep_linear.layers, (None, 0))(params, x)
>>> round(float(rank_one.mean_pair_cosine(first)), 5)
1.0
"""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from . import deep_linear


def start(key: PRNGKeyArray, config: deep_linear.Config, direction: Float[Array, "dim"]) -> deep_linear.Params:
    """A balanced start of rank one that reads this direction, of any length but 0; for one output, whatever the scheme.

    Raises ValueError for several outputs.
    """
    if config.num_outputs != 1:
        raise ValueError(f"config must have one output, got num_outputs {config.num_outputs}")
    keys = jax.random.split(key, len(config.widths))
    hidden = [jax.random.normal(one, (width,)) for one, width in zip(keys, config.widths, strict=True)]
    units = [vector / jnp.linalg.norm(vector) for vector in (direction, *hidden)]
    units.append(jnp.ones(1, direction.dtype))
    return deep_linear.Params(tuple(config.scale * jnp.outer(after, before) for before, after in itertools.pairwise(units)))


def mean_pair_cosine(features: Float[Array, "sample width"]) -> Float[Array, ""]:
    """The mean cosine over all pairs of samples, of each with itself among them; samples whose features are all 0 are left out.

    It is 1 if all features point the same way, and 0 if there are none.

    >>> float(mean_pair_cosine(jnp.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])))
    0.5
    """
    units, active = unit_features(features)
    return jnp.sum(jnp.sum(units, axis=0) ** 2) / jnp.maximum(jnp.sum(active), 1).astype(units.dtype) ** 2


def unit_features(features: Float[Array, "sample width"]) -> tuple[Float[Array, "sample width"], Bool[Array, "sample"]]:
    """The features of every sample divided by their length, and whether there are any; 0 where all of them are 0."""
    # features may be as small as a product of many small layers: their squares would underflow
    largest = jnp.max(jnp.abs(features), axis=1, keepdims=True)
    active = largest > 0
    scaled = features / jnp.where(active, largest, 1)
    units = jnp.where(active, scaled / jnp.sqrt(jnp.where(active, jnp.sum(scaled**2, axis=1, keepdims=True), 1)), 0)
    return units, active[:, 0]
