"""Sparse weights of exact counts and norms, labels with noise of the variance that is asked for, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.tasks import sparse_linear
from zoo.checks import rejected


def key(seed=0):
    return jax.random.key(seed, impl="threefry2x32")


def test_weights():
    drawn = np.asarray(jax.vmap(lambda k: sparse_linear.weights(k, 6, 2, 3.0))(jax.random.split(key(), 2000)))
    np.testing.assert_array_equal(np.sum(drawn != 0, axis=1), 2)
    np.testing.assert_allclose(np.sum(drawn**2, axis=1), 6, rtol=1e-12)
    np.testing.assert_allclose(np.mean(drawn != 0, axis=0), 1 / 3, atol=0.05)  # every place alike
    np.testing.assert_allclose(np.mean(drawn, axis=0), 0, atol=0.1)
    assert not sparse_linear.weights(key(), 3, 0).any()


def test_labels():
    theta = jnp.asarray(np.random.default_rng(0).standard_normal(5))
    x, y = map(np.asarray, sparse_linear.sample(key(1), 40_000, theta, 0.5))

    def assert_labels(y):
        residual = y - x @ np.asarray(theta) / np.sqrt(5)
        np.testing.assert_allclose(np.mean(residual**2), 0.25, rtol=0.03)
        np.testing.assert_allclose(residual @ x / len(x), 0, atol=0.02)

    assert_labels(y)
    rejected(assert_labels, np.sqrt(5) * y)
    rejected(assert_labels, np.asarray(sparse_linear.sample(key(1), 40_000, theta, 0.25)[1]))
    np.testing.assert_allclose(x.T @ x / len(x), np.eye(5), atol=0.03)


def test_refusals():
    with pytest.raises(ValueError, match=r"^num_nonzero must be from 0 to dim 3, got 4$"):
        sparse_linear.weights(key(), 3, 4)
    with pytest.raises(ValueError, match=r"^num_samples must be at least 1, got 0$"):
        sparse_linear.sample(key(), 0, jnp.ones(2))
