"""The LASSO's exact curve: recorded numbers, the envelope theorem, the ridge limit, a scalar problem by quadrature, a fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special

from closedform.theory.high_dimension import sparse_regression
from zoo.calls import Call
from zoo.checks import rejected

TYPICAL = {"ratio": 0.5, "l1_penalty": 0.5, "density": 0.2, "slab_variance": 5.0, "noise_variance": 0.1, "l2_penalty": 0.3}
CALLS = [
    Call(
        sparse_regression.elastic_net,
        TYPICAL,
        # outputs in units of the noise: the ridge has none
        scaling={"l1_penalty": 1, "slab_variance": 2, "noise_variance": 2},
        degree=(2, 2, 0, 2, 1, 0, 0, 0, 2),
        # ratios, penalties and variances in proportion to one another; the equations hold at all, but float64 does not
        draw=lambda rng: {
            "ratio": rng.uniform(0.2, 3),
            "l1_penalty": 10 ** rng.uniform(-1, 0.5),
            "density": rng.uniform(0.05, 1),
            "slab_variance": 10 ** rng.uniform(-1, 1),
            "noise_variance": 10 ** rng.uniform(-2, 0.5),
            "l2_penalty": 10 ** rng.uniform(-2, 1),
        },
    ),
    Call(sparse_regression.l1_threshold, {"density": np.array([0.1, 0.4])}),
]

FACTS = {  # arguments: mse, active, training error, power, false positives; to half a unit of the ninth digit
    (0.5, 0.5, 0.2, 5.0, 0.1, 0.0): (0.363483394, 0.183709742, 0.185466639, 0.516122709, 0.100606500),
    (1.5, 1.0, 0.3, 1.0, 0.25, 0.0): (0.122915458, 0.225632698),
    (0.5, 0.5, 0.2, 5.0, 0.1, 0.3): (0.547003761, 0.280219014),
}
POINTS = np.array(list(FACTS))


@jax.jit
@jax.vmap
def solve(point):
    return sparse_regression.elastic_net(*point)


def assert_recorded(fits):
    for i, expected in enumerate(FACTS.values()):
        found = [fits.mse, fits.active, fits.training_error, fits.power, fits.false_positives][: len(expected)]
        np.testing.assert_allclose([field[i] for field in found], expected, rtol=1e-8, atol=5e-10)
    np.testing.assert_allclose(fits.overlap[0], 0.516122709, rtol=1e-8)  # v epsilon power, c = 1
    np.testing.assert_allclose(fits.mse, POINTS[:, 2] * POINTS[:, 3] - 2 * fits.overlap + fits.norm, rtol=1e-12)


def _pdf(z):
    return np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def mistaken(point, threshold):
    """The same equations by iteration in numpy, with the threshold as a function of l1, V_hat, tau."""
    alpha, l1, eps, v, delta, l2 = point
    error, v_response = eps * v, 0.5
    for _ in range(200):
        v_hat, tau = alpha / (1 + v_response), np.sqrt((error + delta) / alpha)
        t, c, a = threshold(l1, v_hat, tau), v_hat / (v_hat + l2), np.sqrt(v + tau**2)
        tails = [2 * scipy.special.ndtr(-t / s) for s in (a, tau)]
        squares = [(s**2 + t**2) * p - 2 * s * t * _pdf(t / s) for s, p in zip((a, tau), tails, strict=True)]
        active = eps * tails[0] + (1 - eps) * tails[1]
        norm = c**2 * (eps * squares[0] + (1 - eps) * squares[1])
        error = (error + eps * v - 2 * eps * v * tails[0] * c + norm) / 2
        v_response = (v_response + active / (v_hat + l2)) / 2
    nothing = np.nan
    training = (error + delta) / (1 + v_response) ** 2
    overlap = eps * v * tails[0] * c
    return [overlap, norm, v_response, error, nothing, active, *tails, training]


def iterated(threshold):
    rows = [mistaken(point, threshold) for point in POINTS]
    return sparse_regression.ElasticNet(*np.array(rows).T)


def test_recorded_numbers():
    fits = solve(POINTS)
    assert_recorded(fits)
    right = iterated(lambda l1, v_hat, tau: l1 / v_hat)
    assert_recorded(right)
    np.testing.assert_allclose(fits.response, right.response, rtol=1e-9)
    rejected(assert_recorded, iterated(lambda l1, v_hat, tau: l1))
    rejected(assert_recorded, iterated(lambda l1, v_hat, tau: l1 / tau))
    rejected(assert_recorded, solve(POINTS * np.array([1, 0.5, 1, 1, 1, 1])))  # half of the penalty, as for a loss without 1/2


def test_envelope():
    """The energy's slopes in both penalties are |w|_1 and |w|^2/2: all equations must be right for it."""

    def energy(penalties, point):
        fit = sparse_regression.elastic_net(point[0], penalties[0], *point[2:5], penalties[1])
        return point[0] * fit.training_error / 2 + penalties[0] * fit.l1_norm + penalties[1] * fit.norm / 2, fit

    def assert_envelope(factor):
        point = POINTS[2]
        slope = lambda along: jax.jvp(lambda p: energy(p, point), (point[[1, 5]],), (along,))  # noqa: E731
        (_, fit), (by_l1, _) = jax.jit(slope)(np.array([1.0, 0.0]))
        _, (by_l2, _) = jax.jit(slope)(np.array([0.0, 1.0]))
        np.testing.assert_allclose([by_l1, by_l2], [fit.l1_norm, factor * fit.norm], rtol=1e-9)

    assert_envelope(0.5)
    rejected(assert_envelope, 1.0)


def test_limits():
    """A vanishing l1 penalty leaves ridge regression; a large one no weight; without noise nearly none of the error."""
    alpha, l2, delta, signal = 0.5, 0.1, 0.1, 1.0  # the recorded ridge
    points = np.array(
        [
            [alpha, 1e-9, 0.25, 4 * signal, delta, l2],
            [alpha, 100.0, 0.25, 4.0, delta, 0.0],
            [0.6, 1e-7, 0.2, 1.0, 0.0, 0.0],
        ]
    )
    fit = solve(points)
    np.testing.assert_allclose([fit.response[0], fit.mse[0]], [5.741657387, 0.574165739], rtol=2e-8)
    np.testing.assert_allclose([fit.active[1], fit.mse[1], fit.training_error[1]], [0, 1, 1 + delta], atol=1e-12)
    assert fit.mse[2] < 1e-10  # .6 is above the threshold .511
    assert solve(points * np.array([0.7, 1, 1, 1, 1, 1])).mse[2] > 1e-3  # .42 is not


def test_l1_threshold():
    densities = np.array([0.1, 0.2, 0.5])

    def assert_least(alphas):
        for eps, alpha in zip(densities, alphas, strict=True):
            risk = lambda h, eps=eps: (  # noqa: E731
                eps * (1 + h**2)
                + (1 - eps) * 2 * scipy.integrate.quad(lambda z: (z - h) ** 2 * _pdf(z), h, h + 12, epsabs=1e-13)[0]
            )
            least = scipy.optimize.minimize_scalar(risk, bounds=(0, 5), method="bounded", options={"xatol": 1e-8}).fun
            np.testing.assert_allclose(alpha, least, rtol=1e-10)

    alphas = np.asarray(sparse_regression.l1_threshold(densities))
    np.testing.assert_allclose(alphas[:2], [0.328793505, 0.511129610], rtol=2e-9)
    assert_least(alphas)
    rejected(assert_least, np.asarray(sparse_regression.l1_threshold(densities / 2)) * 2)
    assert float(sparse_regression.l1_threshold(1.0)) == 1


@pytest.mark.slow
def test_simulation():
    """scikit-learn is not needed: coordinate descent in numpy at d = 200, 24 draws, within 4 standard errors and 10/d."""
    rng, d, (alpha, l1, eps, v, delta, _) = np.random.default_rng(0), 200, POINTS[0]
    n, found = round(alpha * d), []
    for _ in range(24):
        theta = np.where(np.arange(d) < eps * d, rng.standard_normal(d), 0)
        theta *= np.sqrt(eps * v * d / np.sum(theta**2))
        x = rng.standard_normal((n, d)) / np.sqrt(d)
        y = x @ theta + np.sqrt(delta) * rng.standard_normal(n)
        w, residual, square = np.zeros(d), y.copy(), np.sum(x**2, axis=0)
        for _ in range(300):
            for j in range(d):
                pull = x[:, j] @ residual + square[j] * w[j]
                new = np.sign(pull) * max(abs(pull) - l1, 0) / square[j]
                residual += x[:, j] * (w[j] - new)
                w[j] = new
        found.append([np.mean((w - theta) ** 2), np.mean(w != 0), np.mean(residual**2), theta @ w / d, np.mean(w**2)])
    fit = jax.tree.map(lambda leaf: leaf[0], solve(POINTS))
    expected = np.array([fit.mse, fit.active, fit.training_error, fit.overlap, fit.norm])
    error = np.std(found, axis=0) / np.sqrt(len(found) - 1)
    assert np.all(np.abs(np.mean(found, axis=0) - expected) < 4 * error + 10 / d * expected)


def test_broadcasting():
    curve = sparse_regression.elastic_net(0.5, jnp.array([0.5, 1.0]), 0.2, 5.0, 0.1)
    assert curve.mse.shape == (2,)
    with pytest.raises(ValueError, match=r"^density must be above 0 and at most 1, got 0\.0$"):
        sparse_regression.elastic_net(0.5, 0.5, 0.0, 5.0, 0.1)
