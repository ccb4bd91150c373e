"""Reduced-rank regression against the best of all ranks by SVD in numpy, and against descent on two factors."""

import numpy as np
import pytest
from scipy import optimize

from closedform.solvers import reduced_rank
from zoo.checks import rejected

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 5)), RNG.standard_normal((40, 4))


def error(W):
    return np.sum((Y - X @ np.asarray(W)) ** 2)


def assert_best_of_rank_two(fit_fn):
    """Not above what quasi-Newton descent finds on two factors from three starts, and of rank 2."""
    W = np.asarray(fit_fn(X, Y, 2))
    assert np.linalg.matrix_rank(W, tol=1e-9) <= 2

    def loss(z):
        A, B = z[:10].reshape(5, 2), z[10:].reshape(2, 4)
        off = X @ A @ B - Y
        return np.sum(off**2), 2 * np.concatenate([(X.T @ off @ B.T).ravel(), (A.T @ X.T @ off).ravel()])

    best = min(optimize.minimize(loss, RNG.standard_normal(18), jac=True, options={"gtol": 1e-9}).fun for _ in range(3))
    np.testing.assert_allclose(error(W), best, rtol=1e-8)


def test_samples():
    assert_best_of_rank_two(reduced_rank.fit)
    truncated = np.linalg.lstsq(X, Y)[0]
    u, s, v = np.linalg.svd(truncated)
    rejected(assert_best_of_rank_two, lambda *_: (u[:, :2] * s[:2]) @ v[:2])  # the map cut off, not its fit
    rejected(assert_best_of_rank_two, lambda x, y, k: reduced_rank.fit(x, y, k + 1))


def test_moments_are_the_samples():
    covariance, cross = X.T @ X / 40, Y.T @ X / 40
    for rank in (0, 1, 2, 4, 9):
        np.testing.assert_allclose(
            reduced_rank.from_moments(covariance, cross, rank), np.asarray(reduced_rank.fit(X, Y, rank)).T, atol=1e-10
        )
    np.testing.assert_allclose(reduced_rank.fit(X, Y, 4), np.linalg.lstsq(X, Y)[0], atol=1e-10)
    np.testing.assert_array_equal(reduced_rank.fit(X, Y, 0), np.zeros((5, 4)))


def test_the_error_is_what_the_modes_beyond_the_rank_explain():
    left = np.linalg.svd(X @ np.linalg.lstsq(X, Y)[0])[1]
    for rank in range(5):
        np.testing.assert_allclose(
            error(reduced_rank.fit(X, Y, rank)), error(np.linalg.lstsq(X, Y)[0]) + np.sum(left[rank:] ** 2)
        )


def test_features_that_repeat_have_the_map_of_least_norm():
    twice = np.concatenate([X, X], axis=1)
    found = np.asarray(reduced_rank.fit(twice, Y, 2))
    np.testing.assert_allclose(found, np.concatenate([np.asarray(reduced_rank.fit(X, Y, 2)) / 2] * 2), atol=1e-10)
    covariance, cross = twice.T @ twice, Y.T @ twice
    np.testing.assert_allclose(reduced_rank.from_moments(covariance, cross, 2), found.T, atol=1e-10)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"^y must have the shape .* with sample = 40 as in x, got \(3, 4\)"):
        reduced_rank.fit(X, Y[:3], 1)
    with pytest.raises(ValueError, match=r"^rank must be at least 0, got -1"):
        reduced_rank.fit(X, Y, -1)
    with pytest.raises(ValueError, match=r"^covariance must be symmetric"):
        reduced_rank.from_moments([[1.0, 1.0], [0.0, 1.0]], [[1.0, 0.0]], 1)
    with pytest.raises(ValueError, match=r"^x must be finite"):
        reduced_rank.fit(X * np.nan, Y, 1)
