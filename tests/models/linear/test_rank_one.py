"""Starts of rank one against their definition, and the mean cosine against all pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.linear import deep_linear, rank_one
from zoo.checks import rejected

CONFIG = deep_linear.Config(4, (3, 5), 1, scale=0.2)
DIRECTION = np.array([1.0, 2.0, 0.0, -2.0])


def test_start():
    params = rank_one.start(jax.random.key(0, impl="threefry2x32"), CONFIG, jnp.asarray(DIRECTION))
    assert tuple(w.shape for w in params.weights) == CONFIG.shapes
    for weights in params.weights:
        np.testing.assert_allclose(np.linalg.svd(weights, compute_uv=False)[:2], [0.2, 0][: min(weights.shape)], atol=1e-15)
    for imbalance in deep_linear.imbalances(params):
        np.testing.assert_allclose(imbalance, 0, atol=1e-16)
    np.testing.assert_allclose(deep_linear.product(params), [0.2**3 * DIRECTION / 3], rtol=1e-12)
    with pytest.raises(ValueError, match=r"^config must have one output, got num_outputs 2$"):
        rank_one.start(jax.random.key(0, impl="threefry2x32"), deep_linear.Config(4, (3,), 2), jnp.asarray(DIRECTION))


def assert_mean_cosine(cosine_fn):
    features = np.random.default_rng(0).standard_normal((7, 3)) + np.eye(3)[0]
    units = features / np.linalg.norm(features, axis=1)[:, None]
    expected = np.mean([one @ other for one in units for other in units])
    np.testing.assert_allclose(cosine_fn(jnp.asarray(features)), expected, rtol=1e-12)
    gated = np.concatenate([features, np.zeros((3, 3))])  # samples at which no ReLU is active
    np.testing.assert_allclose(cosine_fn(jnp.asarray(gated)), expected, rtol=1e-12)
    np.testing.assert_allclose(cosine_fn(jnp.asarray(1e-200 * features)), expected, rtol=1e-12)


def test_mean_cosine():
    cosine = jax.jit(rank_one.mean_pair_cosine)
    assert_mean_cosine(cosine)
    rejected(assert_mean_cosine, lambda features: cosine(features - features.mean(axis=0, keepdims=True)))
    rejected(
        assert_mean_cosine, lambda features: np.sum((features / np.linalg.norm(features)).sum(axis=0) ** 2) / len(features)
    )
    assert cosine(jnp.zeros((2, 3))) == 0
