"""Pairs of views against their covariances, which are those of the specification of the problem."""

import jax
import numpy as np
import pytest

from closedform.tasks import augmentation_pairs
from zoo.checks import rejected

SIGNALS, NOISE_STDS = (2.0, 1.0, 0.5), (0.3, 1.0, 0.0)


def assert_covariances(sample_fn):
    """Each view has the covariance S, two views of one sample C between them, and views of two samples none."""
    problem = augmentation_pairs.draw(jax.random.key(0, impl="threefry2x32"), SIGNALS, NOISE_STDS)
    x, plus = map(np.asarray, sample_fn(jax.random.key(1, impl="threefry2x32"), 40000, problem))
    bound = 5 * 2 * 4.09 / np.sqrt(40000)  # five standard errors of the largest variance
    np.testing.assert_allclose(x.T @ x / len(x), problem.view, atol=bound)
    np.testing.assert_allclose(plus.T @ plus / len(x), problem.view, atol=bound)
    np.testing.assert_allclose(x.T @ plus / len(x), problem.clean, atol=bound)
    np.testing.assert_allclose(x[1:].T @ plus[:-1] / len(x), 0, atol=bound)


def test_views_have_their_covariances():
    assert_covariances(augmentation_pairs.sample)

    def same_noise(key, count, problem):
        return (augmentation_pairs.sample(key, count, problem)[0],) * 2

    def transposed(key, count, problem):
        return augmentation_pairs.sample(key, count, problem._replace(basis=problem.basis.T))

    def variances(key, count, problem):  # where deviations are meant
        return augmentation_pairs.sample(key, count, problem._replace(signals=problem.signals**2))

    for wrong in (same_noise, transposed, variances):
        rejected(assert_covariances, wrong)


def test_the_problem_has_its_features_in_an_orthogonal_basis():
    problem = augmentation_pairs.draw(jax.random.key(2, impl="threefry2x32"), SIGNALS, NOISE_STDS)
    basis = np.asarray(problem.basis)
    np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(basis.T @ problem.clean @ basis, np.diag(np.square(SIGNALS)), atol=1e-14)
    np.testing.assert_allclose(np.linalg.eigvalsh(problem.view - problem.clean), sorted(np.square(NOISE_STDS)), atol=1e-14)
    assert np.abs(basis[~np.eye(3, dtype=bool)]).max() > 0.1


def test_wrong_sizes_are_named():
    key = jax.random.key(0, impl="threefry2x32")
    with pytest.raises(ValueError, match=r"^noise_stds must have the length of signals, at least 1, got 1 and 2$"):
        augmentation_pairs.draw(key, (1.0, 2.0), (1.0,))
    with pytest.raises(ValueError, match=r"^num_samples must be at least 1, got 0$"):
        augmentation_pairs.sample(key, 0, augmentation_pairs.draw(key, (1.0,), (1.0,)))
