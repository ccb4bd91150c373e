"""Huber and absolute errors under outliers: recorded numbers, ridge in closed form, envelope, limits, fits in numpy."""

import jax
import numpy as np
import pytest
import scipy.stats

from closedform.theory.high_dimension import robust_regression
from zoo.calls import Call
from zoo.checks import rejected

VARIANCES, PROBABILITIES = np.array([0.1, 10.0]), np.array([0.9, 0.1])
NOISE = {"noise_variances": VARIANCES, "probabilities": PROBABILITIES}


def drawn(rng):
    return {
        "ratio": rng.uniform(0.2, 3),
        "ridge": 10 ** rng.uniform(-1, 1),
        "noise_variances": 10 ** rng.uniform(-1, 1, 2),
        "probabilities": rng.uniform(0.1, 1, 2),
        "signal": 10 ** rng.uniform(-1, 1),
    }


CALLS = [
    Call(
        robust_regression.huber,
        {"ratio": 2.0, "ridge": 0.5, "delta": 1.0, **NOISE, "signal": 1.0},
        edges={"ridge": [1e-6, 10.0], "delta": [np.inf], "probabilities": [np.array([1.0, 0.0])]},
        scaling={"delta": 1, "noise_variances": 2, "signal": 2},
        degree=(2, 2, 0, 2, 2),
        draw=lambda rng: {**drawn(rng), "delta": 10 ** rng.uniform(-0.5, 1)},
    ),
    Call(
        robust_regression.absolute,
        {"ratio": 2.0, "ridge": 0.5, **NOISE, "signal": 1.0},
        edges={"ridge": [1e-6, 10.0], "probabilities": [np.array([1.0, 0.0])]},
        scaling={"ridge": -1, "noise_variances": 2, "signal": 2},
        degree=(2, 2, 1, 2, 1),
        draw=drawn,
        single=lambda arguments: np.min(arguments["noise_variances"]) > 1e-3,  # V and the residuals are of its size
    ),
]


@jax.jit
def huber(ratio, ridge, delta, variances, probabilities, signal=1.0):
    return robust_regression.huber(ratio, ridge, delta, variances, probabilities, signal)


absolute = jax.jit(robust_regression.absolute)
# (ratio, ridge, delta): the recorded Huber fits with outliers, and the squared error with them
POINTS = np.array([[2.0, 0.5, 1.0], [3.0, 0.1, 0.5], [2.0, 0.5, np.inf]])


def ridge_fit(alpha, lam, delta, rho):
    """m, q, V, mse of ridge regression in closed form."""
    V = (1 - lam - alpha + np.sqrt((lam + alpha - 1) ** 2 + 4 * lam)) / (2 * lam)
    s = alpha * V**2 / (1 + V) ** 2
    mse, m = (rho * lam**2 * V**2 + delta * s) / (1 - s), rho * alpha / (1 + V) * V
    return m, mse + 2 * m - rho, V, mse


def assert_recorded(fits):
    np.testing.assert_allclose(fits.mse, [0.224499387, 0.083426171, 0.486612472], rtol=6e-9)
    np.testing.assert_allclose(fits.mse, 1 - 2 * fits.overlap + fits.norm, rtol=1e-11)


def test_recorded_numbers():
    fits = huber(*POINTS.T, VARIANCES, PROBABILITIES)
    assert_recorded(fits)
    rejected(assert_recorded, huber(*POINTS.T, VARIANCES, PROBABILITIES[::-1]))
    rejected(assert_recorded, huber(*POINTS.T, np.sqrt(VARIANCES), PROBABILITIES))
    rejected(assert_recorded, huber(*(POINTS * [1, 2, 1]).T, VARIANCES, PROBABILITIES))
    rejected(assert_recorded, huber(*(POINTS * [1, 1, 2]).T, VARIANCES, PROBABILITIES))

    def assert_absolute(fit):
        np.testing.assert_allclose(fit.mse, 0.167353487, rtol=6e-9)

    assert_absolute(absolute(2.0, 0.5, VARIANCES, PROBABILITIES, 1.0))
    rejected(assert_absolute, absolute(2.0, 1.0, VARIANCES, PROBABILITIES, 1.0))


def test_squared_error_is_ridge_regression():
    points = np.array([[2.0, 0.5], [0.5, 0.1], [2.0, 0.5]])
    rho = np.array([1.0, 1.0, 2.0])
    noise = np.array([0.25, 0.25])  # two components of one variance are one
    fits = huber(points[:, 0], points[:, 1], np.full(3, np.inf), noise, PROBABILITIES, rho)

    def assert_ridge(rho):
        for i, (alpha, lam) in enumerate(points):
            found = [field[i] for field in (fits.overlap, fits.norm, fits.response, fits.mse)]
            np.testing.assert_allclose(found, ridge_fit(alpha, lam, 0.25, rho[i]), rtol=1e-11)

    assert_ridge(rho)
    rejected(assert_ridge, np.ones(3))
    recorded = [1.438447187, 1.176791171, 0.561552813]
    np.testing.assert_allclose([fits.overlap[2], fits.norm[2], fits.response[2]], recorded, rtol=1e-9)


def test_envelope():
    """The slope of the energy in the ridge is q/2: right only if all equations are."""

    def assert_envelope(fit_fn, factor):
        def energy(lam):
            fit = fit_fn(lam)
            return 2.0 * fit.training_loss + lam * fit.norm / 2, fit

        (_, fit), (slope, _) = jax.jit(lambda: jax.jvp(energy, (0.5,), (1.0,)))()
        np.testing.assert_allclose(slope, factor * fit.norm, rtol=1e-9)

    def outliers(lam):
        return robust_regression.huber(2.0, lam, 1.0, VARIANCES, PROBABILITIES)

    assert_envelope(outliers, 0.5)
    rejected(assert_envelope, outliers, 1.0)
    assert_envelope(lambda lam: robust_regression.absolute(2.0, lam, VARIANCES, PROBABILITIES), 0.5)


def test_limits():
    """Without a ridge: least squares, and the interpolation of least norm where samples are few, for every loss."""
    alpha, delta, rho = 0.5, 0.25, 2.0
    noise = np.array([delta, delta])
    few = [*huber(0.5, 0.0, 1.0, noise, PROBABILITIES, rho)], [*absolute(0.5, 0.0, noise, PROBABILITIES, rho)]
    m, mse = rho * alpha, rho * (1 - alpha) + alpha * delta / (1 - alpha)
    np.testing.assert_allclose(few, [[m, mse + 2 * m - rho, np.inf, mse, 0]] * 2, rtol=1e-14)
    near = huber(0.5, 1e-7, 1.0, noise, PROBABILITIES, rho)
    np.testing.assert_allclose([near.overlap, near.mse], [m, mse], rtol=1e-5)
    sharp = absolute(0.5, 1e-7, noise, PROBABILITIES, rho)
    np.testing.assert_allclose([sharp.overlap, sharp.mse, sharp.response * 1e-7], [m, mse, 1 - alpha], rtol=1e-5)
    least_squares = huber(3.0, 0.0, np.inf, noise, PROBABILITIES, rho)
    np.testing.assert_allclose([least_squares.overlap, least_squares.mse], [rho, delta / 2], rtol=1e-11)
    # a small delta is delta times the absolute error
    small = huber(2.0, 0.5e-4, 1e-4, VARIANCES, PROBABILITIES, 1.0)
    np.testing.assert_allclose(small.mse, 0.167353487, rtol=1e-3)


@pytest.mark.slow
def test_simulation():
    """Reweighted least squares in numpy at d = 200, 16 draws: m, q, V, mse and loss within 4 standard errors and 4/d."""
    rng, d, alpha, lam, delta = np.random.default_rng(0), 200, 2.0, 0.5, 1.0
    n, found = round(alpha * d), []
    for _ in range(16):
        theta = np.where(rng.uniform(size=d) < 0.5, 1.0, -1.0)
        x = rng.standard_normal((n, d)) / np.sqrt(d)
        strong = rng.permutation(n) < 0.1 * n
        y = x @ theta + np.where(strong, np.sqrt(10), np.sqrt(0.1)) * rng.standard_normal(n)
        w = np.zeros(d)
        for _ in range(300):
            weight = delta / np.maximum(np.abs(y - x @ w), delta)
            w = np.linalg.solve((x * weight[:, None]).T @ x + lam * np.eye(d), x.T @ (weight * y))
        residual = np.abs(y - x @ w)
        inside = residual < delta
        response = np.trace(np.linalg.inv(x[inside].T @ x[inside] + lam * np.eye(d))) / d
        loss = np.mean(np.where(inside, residual**2 / 2, delta * residual - delta**2 / 2))
        found.append([theta @ w / d, np.mean(w**2), response, np.mean((w - theta) ** 2), loss])
    expected = np.array(huber(alpha, lam, delta, VARIANCES, PROBABILITIES, 1.0))
    error = np.std(found, axis=0) / np.sqrt(len(found) - 1)
    assert np.all(np.abs(np.mean(found, axis=0) - expected) < 4 * error + 4 / d * expected)


def test_moments_by_quadrature():
    """The equations at the fixed point, with g summed over a fine grid of residuals."""
    fit = huber(2.0, 0.5, 1.0, VARIANCES, PROBABILITIES, 1.0)
    V, grid = float(fit.response), np.linspace(-12, 12, 400_001)
    q_hat = v_hat = loss = 0.0
    for variance, p in zip(VARIANCES, PROBABILITIES, strict=True):
        r = np.sqrt(float(fit.mse) + variance) * grid
        g = np.clip(r / (1 + V), -1, 1)
        left, density = np.abs(r - V * g), p * scipy.stats.norm.pdf(grid) * (grid[1] - grid[0])
        q_hat += 2 * density @ g**2
        v_hat += 2 * density @ (np.abs(r) < 1 + V) / (1 + V)
        loss += density @ np.where(left < 1, left**2 / 2, left - 0.5)
    expected = [V * v_hat, (V * v_hat) ** 2 + q_hat * V**2, 1 / (0.5 + v_hat), 0.25 * V**2 + q_hat * V**2, loss]
    np.testing.assert_allclose(fit, expected, rtol=1e-4)  # the grid's step at the kinks


def test_refusals():
    with pytest.raises(ValueError, match=r"^noise_variances must be above 0 and finite, got "):
        robust_regression.huber(2.0, 0.5, 1.0, [0.1, 0.0], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"^probabilities"):
        robust_regression.absolute(2.0, 0.5, [0.1, 1.0], [1.0])
