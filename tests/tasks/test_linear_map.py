"""Moments of a linear map against samples of it, its singular values, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.tasks import linear_map
from zoo.checks import rejected


def key(seed=0):
    return jax.random.key(seed, impl="threefry2x32")


def test_moments_are_those_of_samples():
    rng = np.random.default_rng(0)
    matrix, root = rng.standard_normal((2, 3)), rng.standard_normal((3, 3))
    x, y = map(np.asarray, linear_map.sample(key(), 40_000, jnp.asarray(matrix), jnp.asarray(root)))

    def assert_moments(task):
        for part, of in zip(task, (x.T @ x, y.T @ x, np.sum(y**2)), strict=True):
            np.testing.assert_allclose(part, of / len(x), atol=6 * 10 / len(x) ** 0.5)

    assert_moments(linear_map.moments(matrix, root @ root.T))
    rejected(assert_moments, linear_map.moments(matrix, root.T @ root))
    rejected(assert_moments, linear_map.moments(matrix, np.eye(3)))
    noisy = linear_map.sample(key(), 40_000, jnp.asarray(matrix), noise_std=0.5)
    residual = np.asarray(noisy[1]) - np.asarray(noisy[0]) @ matrix.T
    np.testing.assert_allclose(np.mean(residual**2), 0.25, rtol=0.03)


def test_singular_values_and_vectors():
    vectors = linear_map.bases(key(1), 2, 3, 4)
    for basis in vectors:
        np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-14)
    task = linear_map.in_bases(np.array([2.0, 0.5]), vectors)
    np.testing.assert_allclose(vectors.left.T @ task.cross @ vectors.right, np.diag([2.0, 0.5]), atol=1e-14)
    np.testing.assert_allclose(task.square, 4.25, rtol=1e-14)
    np.testing.assert_array_equal(task.covariance, np.eye(4))
    # uniform on frames: an entry has mean 0 and mean square 1/size
    left = jax.vmap(lambda k: linear_map.bases(k, 2, 3, 4).left)(jax.random.split(key(2), 2000))
    np.testing.assert_allclose(np.mean(np.asarray(left), axis=0), 0, atol=0.06)
    np.testing.assert_allclose(np.mean(np.asarray(left) ** 2, axis=0), 1 / 3, atol=0.03)


def test_refusals():
    with pytest.raises(ValueError, match="num_modes must be from 1 to min"):
        linear_map.bases(key(), 4, 3, 4)
    with pytest.raises(ValueError, match="covariance must have the shape"):
        linear_map.moments(np.ones((2, 3)), np.eye(2))
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        linear_map.sample(key(), 0, jnp.eye(2))
