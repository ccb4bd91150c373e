"""Support vector machines and least absolute deviations against scikit-learn, cvxpy and linear programmes."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from sklearn.svm import SVC, LinearSVC

from closedform.solvers import support_vectors
from zoo.checks import rejected

RNG = np.random.default_rng(5)
X = RNG.standard_normal((30, 6))
U = X @ RNG.standard_normal(6)
Y = np.sign(U + 1.5 * RNG.standard_normal(30))
NUMBERS = 3 * (U + 0.5 * RNG.standard_normal(30))


def assert_soft(weights, ridge):
    oracle = LinearSVC(loss="hinge", C=1 / ridge, fit_intercept=False, tol=1e-9, max_iter=2_000_000, random_state=0).fit(X, Y)
    np.testing.assert_allclose(weights, oracle.coef_[0], rtol=1e-5, atol=1e-6)


def test_hinge():
    for ridge in (0.3, 5.0):
        found = support_vectors.hinge(X, Y, ridge)
        assert bool(found.converged)
        assert_soft(found.weights, ridge)
        rejected(assert_soft, support_vectors.hinge(X, Y, ridge / 2).weights, ridge)
        rejected(assert_soft, support_vectors.hinge(X, Y, ridge / len(Y)).weights, ridge)
        # the multipliers give the weights, and are inside of [0, 1] at margin 1 alone
        np.testing.assert_allclose(X.T @ (Y * found.dual), ridge * found.weights, atol=1e-9)
        margins, inside = Y * (X @ found.weights), (found.dual > 1e-6) & (found.dual < 1 - 1e-6)
        np.testing.assert_allclose(margins[inside], 1, atol=1e-7)
        assert np.all(np.where(found.dual < 1e-6, margins > 1, margins < 1 + 1e-7))
        assert 0 < np.sum(inside) <= 6


def test_the_margin_of_the_hinge_scales():
    """w(kappa, ridge) = kappa w(1, kappa ridge) for the loss max(kappa - y z, 0), here as features over kappa."""
    kappa, ridge = 2.5, 0.3
    scaled = support_vectors.hinge(X / kappa, Y, kappa * ridge / kappa**2 * 1.0).weights
    other = kappa * support_vectors.hinge(X, Y, kappa * ridge).weights
    np.testing.assert_allclose(scaled, other, rtol=1e-6)


def assert_deviations(weights, ridge):
    def objective(w):
        return np.sum(np.abs(NUMBERS - X @ w)) + ridge * w @ w / 2

    rng, value = np.random.default_rng(0), objective(np.asarray(weights))
    for size in (1e-1, 1e-3):
        assert all(objective(weights + size * rng.standard_normal(6)) > value for _ in range(200))
    if ridge == 0:
        bounds = [(None, None)] * 6 + [(0, None)] * 60
        whole = np.concatenate([X, np.eye(30), -np.eye(30)], axis=1)
        exact = linprog(np.r_[np.zeros(6), np.ones(60)], A_eq=whole, b_eq=NUMBERS, bounds=bounds)
        np.testing.assert_allclose(weights, exact.x[:6], rtol=1e-6)


def test_least_absolute_deviations():
    for ridge in (0.0, 2.0):
        found = support_vectors.absolute(X, NUMBERS, ridge)
        assert bool(found.converged)
        assert_deviations(found.weights, ridge)
        rejected(assert_deviations, np.linalg.lstsq(X, NUMBERS, rcond=None)[0], ridge)
        rejected(assert_deviations, support_vectors.absolute(X, NUMBERS, 2 * ridge + 0.5).weights, ridge)
        np.testing.assert_allclose(X.T @ found.dual, ridge * found.weights, atol=1e-8)
        assert np.sum(np.abs(found.dual) < 1 - 1e-6) <= 6
    np.testing.assert_array_equal(support_vectors.absolute(X, 0 * NUMBERS, 1.0).weights, 0)


def assert_largest_margin(found):
    separable = np.sign(U)
    margins = separable * (X @ found.weights)
    np.testing.assert_allclose(margins.min(), 1, rtol=1e-9)
    np.testing.assert_allclose(found.margin, 1 / np.linalg.norm(found.weights), rtol=1e-7)
    end = minimize(
        lambda w: w @ w / 2,
        2 * np.asarray(found.weights),
        jac=lambda w: w,
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda w: separable * (X @ w) - 1, "jac": lambda w: separable[:, None] * X},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(found.weights, end.x, rtol=1e-5, atol=1e-6)


def test_hard_margin():
    found = support_vectors.hard_margin(X, np.sign(U))
    assert bool(found.separable)
    assert_largest_margin(found)
    rejected(assert_largest_margin, found._replace(weights=2 * found.weights))
    soft = support_vectors.hinge(X, np.sign(U), 1e-6).weights  # of a hinge with a small ridge
    np.testing.assert_allclose(soft, found.weights, rtol=1e-5)
    np.testing.assert_allclose(X.T @ (np.sign(U) * found.dual), found.weights, rtol=1e-6, atol=1e-9)
    assert np.sum(found.dual > 1e-3 * found.dual.max()) <= 6
    near = SVC(kernel="linear", C=1e9).fit(np.r_[X, -X], np.r_[np.sign(U), -np.sign(U)])  # mirrored: no intercept
    np.testing.assert_allclose(found.weights, near.coef_[0], rtol=2e-3)
    # units of the features
    np.testing.assert_allclose(support_vectors.hard_margin(1e6 * X, np.sign(U)).margin, 1e6 * found.margin, rtol=1e-7)


def assert_separability(separable_fn):
    rng = np.random.default_rng(1)
    for _ in range(12):
        x, y = rng.standard_normal((30, 15)), rng.choice([-1.0, 1.0], 30)
        exact = linprog(np.zeros(15), A_ub=-y[:, None] * x, b_ub=-np.ones(30), bounds=[(None, None)] * 15)
        assert separable_fn(x, y) == (exact.status == 0)


def test_separability_is_that_of_a_linear_programme():
    assert_separability(lambda x, y: bool(support_vectors.hard_margin(x, y).separable))
    rejected(assert_separability, lambda x, y: True)
    rejected(assert_separability, lambda x, y: bool(support_vectors.hard_margin(x[:25], y[:25]).separable))
    none = support_vectors.hard_margin(X, -Y * np.sign(X[:, 0]) * np.sign(U))
    if not bool(none.separable):
        assert np.isnan(none.weights).all()
        assert float(none.margin) == 0


def test_more_features_than_samples_and_single_precision():
    x, y = X[:5], Y[:5]
    found = support_vectors.hard_margin(x, y)
    gram = (y[:, None] * x) @ (y[:, None] * x).T
    assert bool(found.separable)
    np.testing.assert_allclose(gram @ found.dual >= 1 - 1e-7, True)
    single = support_vectors.hinge(X.astype(np.float32), Y.astype(np.float32), 0.3)
    assert single.weights.dtype == jnp.float32
    np.testing.assert_allclose(single.weights, support_vectors.hinge(X, Y, 0.3).weights, atol=2e-3)


def test_refusals():
    for message, call in {
        "y must be -1 or 1": lambda: support_vectors.hinge(X, U, 1.0),
        "ridge must be at least 0 and finite": lambda: support_vectors.hinge(X, Y, -1.0),
        "ridge must be one number or one for each": lambda: support_vectors.absolute(X, U, [1.0, 2.0]),
        "y must have the shape": lambda: support_vectors.hard_margin(X, Y[:-1]),
        "features must be finite": lambda: support_vectors.hard_margin(np.nan * X, Y),
    }.items():
        with pytest.raises(ValueError, match=f"^{message}"):
            call()
