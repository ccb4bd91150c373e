"""Covariances, symmetric matrices and squares with a spike: their moments over many draws, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.tasks import spiked
from zoo.checks import rejected


def key(seed=0):
    return jax.random.key(seed, impl="threefry2x32")


def test_covariance():
    v = spiked.spike(key(), 4)
    np.testing.assert_array_equal(np.abs(v), 1)
    x = np.asarray(spiked.covariance(key(1), 100_000, v, 3.0))

    def assert_covariance(strength):
        expected = np.eye(4) + strength * np.outer(v, v) / 4
        np.testing.assert_allclose(x.T @ x / len(x), expected, atol=0.04)

    assert_covariance(3.0)
    rejected(assert_covariance, np.sqrt(3.0))
    rejected(assert_covariance, 12.0)  # v of norm sqrt d taken for a unit vector


def test_wigner():
    v = jnp.array([1.0, -1.0, 1.0])
    drawn = np.asarray(jax.vmap(lambda k: spiked.wigner(k, v, 2.0))(jax.random.split(key(), 20_000)))
    np.testing.assert_array_equal(drawn, drawn.transpose(0, 2, 1))
    np.testing.assert_allclose(np.mean(drawn, axis=0), 2 / 3 * np.outer(v, v), atol=0.03)

    def assert_variance(off):
        np.testing.assert_allclose(np.var(drawn, axis=0), off * (1 + np.eye(3)), rtol=0.05)

    assert_variance(1 / 3)
    rejected(assert_variance, 1 / 6)


def test_squares():
    v = spiked.spike(key(), 5)
    x, y = spiked.squares(key(1), 7, v)
    np.testing.assert_allclose(y, (np.asarray(x) @ np.asarray(v)) ** 2 / 5, rtol=1e-12)


def test_refusals():
    with pytest.raises(ValueError, match=r"^dim must be at least 1, got 0$"):
        spiked.spike(key(), 0)
    with pytest.raises(ValueError, match=r"^num_samples must be at least 1, got 0$"):
        spiked.covariance(key(), 0, jnp.ones(2), 1.0)
