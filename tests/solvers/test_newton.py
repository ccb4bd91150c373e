"""Convex fits against scikit-learn and scipy, their gradients, existence of the optimum, and the response to a field."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from closedform.solvers import newton
from zoo.checks import rejected


def data(samples=40, dim=6, numbers=False):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((samples, dim))
    u = x @ rng.standard_normal(dim) / dim**0.5 + 0.7 * rng.standard_normal(samples)
    return x, (u + 5 * (rng.uniform(size=samples) < 0.2) if numbers else np.sign(u))


def assert_logistic(fit_fn):
    x, y = data()
    for ridge in (0.3, 1e-6):
        oracle = LogisticRegression(C=1 / ridge, solver="newton-cholesky", fit_intercept=False, tol=1e-12).fit(x, y)
        np.testing.assert_allclose(fit_fn(x, y, ridge), oracle.coef_[0], rtol=1e-7, atol=1e-8)


def test_logistic():
    assert_logistic(lambda x, y, ridge: newton.fit(x, y, ridge).weights)
    rejected(assert_logistic, lambda x, y, ridge: newton.fit(x, y, ridge / len(y)).weights)  # a mean in place of the sum
    rejected(assert_logistic, lambda x, y, ridge: newton.fit(x, y, 2 * ridge).weights)
    rejected(assert_logistic, lambda x, y, ridge: newton.fit(x, -y, ridge).weights)


def test_an_intercept_is_a_column_without_penalty():
    x, y = data()
    y = np.where(x[:, 0] > -0.8, y, -1.0)
    oracle = LogisticRegression(C=1 / 0.3, solver="newton-cholesky", tol=1e-12).fit(x, y)
    found = newton.fit(np.column_stack([x, np.ones(len(x))]), y, [0.3] * 6 + [0.0])
    np.testing.assert_allclose(found.weights, [*oracle.coef_[0], oracle.intercept_[0]], rtol=1e-6)
    assert abs(found.weights[-1]) > 0.1


VALUES = {
    newton.squared_hinge: lambda z, y: np.maximum(1 - y * z, 0) ** 2 / 2,
    newton.probit: lambda z, y: -special.log_ndtr(y * z),
    newton.square: lambda z, y: (y - z) ** 2 / 2,
}


def assert_optimum(weights, value_fn, ridge=0.2, numbers=False):
    """No descent by another method from there, and the gradient by differences is 0."""
    x, y = data(numbers=numbers)

    def objective(w):
        return np.sum(value_fn(x @ w, y)) + ridge * w @ w / 2

    h = 1e-6
    slopes = [(objective(weights + h * e) - objective(weights - h * e)) / (2 * h) for e in np.eye(6)]
    np.testing.assert_allclose(slopes, 0, atol=1e-6)
    end = minimize(objective, np.zeros(6), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(weights, end.x, atol=1e-6)


@pytest.mark.parametrize("loss", VALUES, ids=lambda loss: loss.__name__)
def test_other_losses(loss):
    x, y = data()
    found = newton.fit(x, y, 0.2, loss)
    assert bool(found.converged)
    assert found.gradient < 1e-13
    assert_optimum(np.asarray(found.weights), VALUES[loss])
    rejected(assert_optimum, 1.001 * np.asarray(found.weights), VALUES[loss])
    if loss is newton.squared_hinge:
        oracle = LinearSVC(loss="squared_hinge", C=1 / 0.4, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(x, y)
        np.testing.assert_allclose(found.weights, oracle.coef_[0], rtol=1e-6)


def test_huber():
    """Also far from the start, where the ridge is all the curvature, and without any ridge."""
    x, y = data(numbers=True)

    def value(delta):
        return lambda z, y: np.where(abs(y - z) <= delta, (y - z) ** 2 / 2, delta * abs(y - z) - delta**2 / 2)

    for delta, ridge in ((0.5, 0.2), (0.05, 1e-3), (2.0, 0.0)):
        found = newton.fit(x, y, ridge, newton.huber(delta))
        assert bool(found.converged)
        assert_optimum(np.asarray(found.weights), value(delta), ridge, numbers=True)
    rejected(assert_optimum, np.asarray(found.weights), value(1.9), 0.0, True)
    wide = newton.fit(x, y, 0.2, newton.huber(1e3))
    np.testing.assert_allclose(wide.weights, newton.fit(x, y, 0.2, newton.square).weights, rtol=1e-12)


def test_a_loss_of_your_own_compiles_once_for_its_numbers():
    x, y = data()

    def scaled(scale, outputs, labels):
        return jax.nn.softplus(-scale * labels * outputs)

    one = newton.fit(x, y, 0.3, jax.tree_util.Partial(scaled, jnp.asarray(2.0))).weights
    np.testing.assert_allclose(2 * one, newton.fit(x, y, 0.3 / 4).weights, rtol=1e-10)


def test_where_there_is_no_optimum():
    x, y = data()
    plane = x @ np.arange(1.0, 7)
    apart = newton.fit(x, np.sign(plane), 0.0)
    assert not bool(apart.converged)
    assert np.isnan(apart.weights).all()
    found = newton.fit(x, np.sign(plane), 1e-8)  # a small ridge has one
    assert bool(found.converged)
    assert (np.sign(plane) * (x @ found.weights) > 0).all()
    assert bool(newton.fit(x, y, 0.0).converged)


def test_the_response_is_the_mean_of_the_inverse_hessian():
    x, y = data()
    ridge = 0.3
    weights = newton.fit(x, y, ridge).weights

    def assert_response(value):
        hessian = ridge * np.eye(6)
        for row, label in zip(x, y, strict=True):
            chance = 1 / (1 + np.exp(-label * (row @ np.asarray(weights))))
            hessian += chance * (1 - chance) * np.outer(row, row)
        np.testing.assert_allclose(value, np.mean(np.diag(np.linalg.inv(hessian))), rtol=1e-10)

    assert_response(newton.response(x, y, ridge, weights))
    rejected(assert_response, 6 * newton.response(x, y, ridge, weights))
    rejected(assert_response, newton.response(x, y, 2 * ridge, weights))


def test_single_precision():
    x, y = (part.astype(np.float32) for part in data())
    found = newton.fit(x, y, 0.3)
    assert found.weights.dtype == jnp.float32
    assert bool(found.converged)
    np.testing.assert_allclose(found.weights, newton.fit(*data(), 0.3).weights, rtol=1e-4)


def test_refusals():
    x, y = data()
    for message, call in {
        "ridge must be at least 0 and finite, got -1.0": lambda: newton.fit(x, y, -1.0),
        "ridge must be one number or one for each of the 6 features, got shape": lambda: newton.fit(x, y, [1.0, 2.0]),
        "this loss wants labels y of -1 and": lambda: newton.fit(x, (y + 1) / 2, 1.0),
        "y must have the shape": lambda: newton.fit(x, y[:-1], 1.0),
        "features must be finite": lambda: newton.fit(x * np.nan, y, 1.0),
        "delta must be above 0 and finite, got 0.0": lambda: newton.huber(0.0),
    }.items():
        with pytest.raises(ValueError, match=f"^{message}"):
            call()
