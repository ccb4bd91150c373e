r"""What a representation holds of each feature: shares of its variance, and dissimilarities of its inputs.

The share of a feature $f_i$ is the part of the variance of all units that a linear regression of the units on the feature
explains,

$$
\text{share}_i = \frac{\sum_u \operatorname{cov}(h_u, f_i)^2}{\operatorname{var} f_i \; \sum_u \operatorname{var} h_u}
$$

This is encoding: activity is regressed on the feature. Decoding, the feature regressed on the activity, is perfect for every
feature that the network computes, and cannot tell them apart. Shares of uncorrelated features add up to at most 1.

Source: the measure of A. K. Lampinen, S. C. Y. Chan, K. Hermann, arXiv 2405.05847 (read in summaries); dissimilarity matrices
are those of representational similarity analysis (recalled).

Example. A unit for the first feature and one, half as strong, for the second:

>>> import jax.numpy as jnp
>>> from closedform.models.fully_connected import representation
>>> f = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
>>> h = f @ jnp.diag(jnp.array([1.0, 0.5])) + 3
>>> [round(float(share), 6) for share in representation.feature_share(h, f)]
[0.8, 0.2]
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def feature_share(h: Float[Array, "sample unit"], f: Float[Array, "sample feature"]) -> Float[Array, "feature"]:
    """The share of the variance of the units that each feature explains alone; 0 of a constant feature or constant units.

    Units and features are centred over the samples, which count alike.
    """
    h, f = (values - jnp.mean(values, axis=0, keepdims=True) for values in (h, f))
    explained = jnp.sum((h.T @ f) ** 2, axis=0)
    whole = jnp.sum(f**2, axis=0) * jnp.sum(h**2)
    return jnp.where(whole > 0, explained / jnp.where(whole > 0, whole, 1), 0)


def variance(h: Float[Array, "sample unit"]) -> Float[Array, ""]:
    """The variance over the samples, summed over the units."""
    return jnp.sum(jnp.mean((h - jnp.mean(h, axis=0, keepdims=True)) ** 2, axis=0))


def dissimilarities(h: Float[Array, "sample unit"]) -> Float[Array, "sample sample"]:
    """Squared distance of the activity on every two samples."""
    return jnp.sum((h[:, None] - h[None]) ** 2, axis=-1)


def dissimilarity_correlation(h: Float[Array, "sample unit"], other: Float[Array, "sample unit_"]) -> Float[Array, ""]:
    """Pearson correlation of two matrices of dissimilarities; NaN where one of the representations is constant.

    It is over all ordered pairs of samples, each with itself included: so are two independent inputs that take every sample
    as their value. Without the pairs of a sample with itself, which few samples make felt, the number is another.
    """
    return jnp.corrcoef(dissimilarities(h).ravel(), dissimilarities(other).ravel())[0, 1]
