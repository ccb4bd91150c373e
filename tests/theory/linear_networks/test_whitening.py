"""Correlation of responses against responses that are counted place by place, and filters that whiten."""

import numpy as np
import pytest

from closedform.theory.linear_networks import whitening
from zoo.calls import Call
from zoo.checks import rejected

LAGS = np.array([0, 1, 3, 5])


def row_of_patches():
    """A long row of correlated pixels, its patches of three (place, weight), and C at each lag over the places of both."""
    rng = np.random.default_rng(0)
    pixels = np.convolve(rng.standard_normal(4000), [1.0, 0.8, 0.5, 0.2, 0.1])
    patches = np.lib.stride_tricks.sliding_window_view(pixels - pixels.mean(), 3)
    size = len(patches) - LAGS[-1]
    return patches, np.stack([patches[:size].T @ patches[lag : size + lag] / size for lag in LAGS])


def assert_counted(autocorrelation_fn):
    patches, lagged = row_of_patches()
    filters = np.random.default_rng(1).standard_normal((4, 3))
    responses, size = patches @ filters.T, len(patches) - LAGS[-1]
    power = np.sum(responses[:size] ** 2)
    expected = [np.sum(responses[:size] * responses[lag : size + lag]) / power for lag in LAGS]
    np.testing.assert_allclose(autocorrelation_fn(filters.T @ filters / 4, lagged, lagged[0]), expected, rtol=1e-11)


def test_autocorrelation_is_that_of_the_responses():
    assert_counted(whitening.response_autocorrelation)
    correlation = whitening.response_autocorrelation
    rejected(assert_counted, lambda M, lagged, C: correlation(M @ M, lagged, C))
    rejected(assert_counted, lambda M, lagged, C: correlation(np.eye(3), lagged, C))
    rejected(assert_counted, lambda M, lagged, C: correlation(M, lagged, C) * np.trace(C))


def test_filters_that_whiten():
    """They have e_i lambda_i = 1, not e_i = lambda_i; of white noise nothing is left once no pixel is shared."""
    _, lagged = row_of_patches()
    values, vectors = np.linalg.eigh(lagged[0])
    whitened = np.asarray(whitening.whitened_autocorrelation(lagged, lagged[0]))
    moment = vectors / values @ vectors.T
    np.testing.assert_allclose(whitening.response_autocorrelation(moment, lagged, lagged[0]), whitened, rtol=1e-10)
    assert whitened[0] == pytest.approx(1, rel=1e-12)
    coloured = np.asarray(whitening.response_autocorrelation(vectors * values @ vectors.T, lagged, lagged[0]))
    assert np.abs(coloured - whitened).max() > 0.2
    shift = np.eye(3, k=-1)  # white noise one place on: p(r + 1) = (x_2, x_3, x_4), so that C = E p(r) p(r + 1)^T
    noise = np.stack([np.eye(3), shift, np.zeros((3, 3))])
    np.testing.assert_allclose(whitening.whitened_autocorrelation(noise, np.eye(3)), [1, 0, 0], atol=1e-15)
    np.testing.assert_allclose(
        whitening.response_autocorrelation(np.full((3, 3), 1 / 9), noise, np.eye(3)), [1, 2 / 3, 0], atol=1e-14
    )


def test_edges():
    """Filters that answer to nothing, directions that never vary, and what is refused."""
    assert whitening.response_autocorrelation(np.diag([0.0, 1.0]), np.eye(2), np.diag([1.0, 0.0])) == 0
    degenerate = whitening.whitened_autocorrelation(np.diag([0.5, 7.0]), np.diag([1.0, 0.0]))
    np.testing.assert_allclose(degenerate, 0.5, rtol=1e-14)
    with pytest.raises(ValueError, match=r"^moment must be symmetric"):
        whitening.response_autocorrelation([[1.0, 1.0], [0.0, 1.0]], np.eye(2), np.eye(2))
    with pytest.raises(ValueError, match=r"^covariance must be positive"):
        whitening.whitened_autocorrelation(np.eye(2), -np.eye(2))


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def symmetric(x, rng):
    change = rng.standard_normal(x.shape)
    return (change + change.T) * np.max(np.abs(x)) * 0.1


def positive(rng):
    features = rng.standard_normal((2, 5))
    return features @ features.T / 5


LAGGED = np.array([[[0.5, 0.1], [0.0, 0.4]], [[0.2, 0.3], [-0.1, 0.1]]])
CALLS = [
    Call(
        whitening.response_autocorrelation,
        {"moment": np.array([[1.0, 0.3], [0.3, 2.0]]), "lagged": LAGGED, "covariance": np.array([[0.6, 0.2], [0.2, 0.7]])},
        directions={"moment": symmetric, "covariance": symmetric},
        scaling={"moment": 1},
        draw=lambda rng: {"moment": positive(rng), "covariance": positive(rng), "lagged": rng.standard_normal((2, 2, 2))},
    ),
    Call(
        whitening.whitened_autocorrelation,
        {"lagged": LAGGED, "covariance": np.array([[0.6, 0.2], [0.2, 0.7]])},
        directions={"covariance": symmetric},
        cases=[{"covariance": np.eye(2)}],
        scaling={"lagged": 1, "covariance": 1},
        draw=lambda rng: {"covariance": positive(rng), "lagged": rng.standard_normal((2, 2, 2))},
    ),
]
