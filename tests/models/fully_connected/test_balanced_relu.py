"""The network against numpy, its start, and shares and dissimilarities against regressions and distances of other libraries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial
from sklearn.linear_model import LinearRegression

from closedform.models.fully_connected import balanced_relu, representation
from zoo.checks import rejected

CONFIG = balanced_relu.Config(dim=4, width=6, num_outputs=3, init_scale=0.3)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 4))


def test_start_and_outputs():
    params = balanced_relu.init(jax.random.key(0, impl="threefry2x32"), CONFIG)
    w, a = map(np.asarray, params)
    np.testing.assert_allclose(np.linalg.norm(w, axis=0), 0.3, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(a, axis=0), 0.3, rtol=1e-12)
    expected = np.maximum(X @ w, 0) @ a.T
    np.testing.assert_allclose(
        balanced_relu.outputs(params, balanced_relu.hidden(params, jnp.asarray(X))), expected, rtol=1e-10, atol=1e-14
    )
    np.testing.assert_allclose(balanced_relu.apply(params, X[0]), expected[0], rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(balanced_relu.path_norm(params), 6 * 0.09, rtol=1e-12)


FEATURES = RNG.choice([-1.0, 1.0], (20, 2)) * [1.0, 3.0]
HIDDEN = np.maximum(RNG.standard_normal((20, 5)) + FEATURES @ RNG.standard_normal((2, 5)) + 1, 0)


def assert_shares(share_fn):
    """Variance of all units that a regression of the units on one feature explains, by scikit-learn."""
    for i, f in enumerate(FEATURES.T):
        explained = np.var(LinearRegression().fit(f[:, None], HIDDEN).predict(f[:, None]), axis=0).sum()
        np.testing.assert_allclose(share_fn(HIDDEN, FEATURES)[i], explained / np.var(HIDDEN, axis=0).sum(), rtol=1e-10)


def test_shares_are_of_encoding_and_centred():
    def decoded(h, f):
        return [LinearRegression().fit(h, one).score(h, one) for one in f.T]

    def uncentred(h, f):
        return np.sum((h.T @ f) ** 2, axis=0) / (np.sum(f**2, axis=0) * np.sum(h**2))

    def share(h, f):
        return representation.feature_share(jnp.asarray(h), jnp.asarray(f))

    assert_shares(share)
    rejected(assert_shares, decoded)
    rejected(assert_shares, uncentred)
    rejected(assert_shares, lambda h, f: share(h, f / np.std(f, axis=0)) * np.var(f, axis=0))
    np.testing.assert_allclose(representation.variance(jnp.asarray(HIDDEN)), np.var(HIDDEN, axis=0).sum(), rtol=1e-12)
    np.testing.assert_array_equal(share(0 * HIDDEN, FEATURES), 0)
    np.testing.assert_array_equal(share(HIDDEN, 0 * FEATURES), 0)


def test_dissimilarities():
    expected = scipy.spatial.distance.cdist(HIDDEN, HIDDEN, "sqeuclidean")
    np.testing.assert_allclose(representation.dissimilarities(jnp.asarray(HIDDEN)), expected, rtol=1e-10, atol=1e-12)
    other = scipy.spatial.distance.cdist(FEATURES, FEATURES, "sqeuclidean")
    correlation = np.corrcoef(expected.ravel(), other.ravel())[0, 1]
    found = representation.dissimilarity_correlation(jnp.asarray(HIDDEN), jnp.asarray(FEATURES))
    assert found == pytest.approx(correlation, rel=1e-10)
