"""The spectral estimate against recorded numbers, the general equations by quadrature, and sampled matrices."""

import jax
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special

from closedform.theory.random_matrices import phase_retrieval
from zoo.calls import Call
from zoo.checks import rejected

CALLS = [
    Call(
        phase_retrieval.spectral_estimate,
        {"ratio": np.array([0.3, 2.0])},
        edges={"ratio": [1e-3, 0.49, 0.51, 1e3]},
        # below the threshold every c is as good as 0 and above it the slope of c is 5 at once
        draw=lambda rng: {"ratio": np.array([rng.uniform(0.05, 0.45), rng.uniform(0.55, 5)])},
    )
]
RATIOS = np.array([0.51, 0.6, 0.75, 1.0, 2.0, 4.0])
RECORDED = [0.004028121, 0.042327567, 0.111203595, 0.230697044, 0.638881278, 0.924490338]
estimate = jax.jit(phase_retrieval.spectral_estimate)


def mean(fn):
    """Over a standard normal s, of an even function."""
    parts = [scipy.integrate.quad(fn, a, b, epsabs=1e-13)[0] for a, b in ((0, 0.1), (0.1, 1), (1, 4), (4, 12))]
    return 2 * sum(parts)


def general(alpha):
    """Overlap, eigenvalue and edge by the equations for any T: psi and chi of Lu and Li, of T = 1 - 1/y."""
    weight = lambda s: np.exp(-(s**2) / 2) / np.sqrt(2 * np.pi)  # noqa: E731
    ratio = lambda s, l: (s**2 - 1) / ((l - 1) * s**2 + 1)  # T/(l - T)  # noqa: E731, E741
    psi = lambda l: l * (1 / alpha + mean(lambda s: weight(s) * ratio(s, l)))  # noqa: E731, E741
    chi = lambda l: l * mean(lambda s: weight(s) * s**2 * ratio(s, l))  # noqa: E731, E741
    lowest = scipy.optimize.minimize_scalar(psi, bounds=(1 + 1e-9, 60), method="bounded", options={"xatol": 1e-9})
    root = scipy.optimize.brentq(lambda l: psi(l) - chi(l), lowest.x, 60, xtol=1e-12)  # noqa: E741
    slopes = [(f(root + 1e-4) - f(root - 1e-4)) / 2e-4 for f in (psi, chi)]
    return slopes[0] / (slopes[0] - slopes[1]), psi(root), lowest.fun


def assert_recorded(overlaps):
    np.testing.assert_allclose(overlaps, RECORDED, atol=6e-10)


def test_estimate():
    found = estimate(RATIOS)
    assert_recorded(found.overlap)
    rejected(assert_recorded, np.sqrt(found.overlap))
    rejected(assert_recorded, estimate(1 / RATIOS).overlap)
    rejected(assert_recorded, estimate(RATIOS * 1.01).overlap)
    for i in (3, 4):
        np.testing.assert_allclose([field[i] for field in found], general(RATIOS[i]), rtol=1e-6)


def test_ends():
    found = estimate(np.array([0.1, 0.5, 0.5 + 1e-6, 30.0, 1e3, 1e6]))
    np.testing.assert_array_equal(found.overlap[:2], 0)
    np.testing.assert_array_equal(found.eigenvalue[:2], found.edge[:2])
    np.testing.assert_allclose(found.overlap[2], 4e-7, rtol=1e-4)  # (2 - 1/alpha)/10
    # many samples: 1/alpha is sqrt(pi/(2 b)), and 1 - c = 1/(1 + b)
    np.testing.assert_allclose((1 - found.overlap[4]) * np.pi * 1e6 / 2, 1, rtol=1e-2)
    assert np.all(np.diff(found.overlap) >= 0)
    assert found.overlap[5] < 1
    # b against the closed form with E 1/(1 + b s^2) = sqrt(pi/(2 b)) e^(1/(2 b)) erfc(1/sqrt(2 b))
    b = float(found.overlap[3] / (1 - found.overlap[3]))
    g = np.sqrt(np.pi / (2 * b)) * scipy.special.erfcx(1 / np.sqrt(2 * b))
    np.testing.assert_allclose((1 + b) * ((1 + b) * g - 1) / b**2, 1 / 30, rtol=1e-10)


@pytest.mark.slow
def test_simulation():
    """In numpy at d = 200, 24 draws: overlap, eigenvalue and edge within 4 standard errors and 8/d."""
    rng, d, alpha, found = np.random.default_rng(0), 200, 2.0, []
    for _ in range(24):
        x = rng.standard_normal((round(alpha * d), d))
        y = np.sum(x, axis=1) ** 2 / d
        values, vectors = np.linalg.eigh((x * (1 - 1 / y)[:, None]).T @ x / len(x))
        found.append([np.sum(vectors[:, -1]) ** 2 / d, values[-1], values[-2]])
    error = np.std(found, axis=0) / np.sqrt(23)
    expected = np.array([float(field) for field in estimate(alpha)])
    assert np.all(np.abs(np.mean(found, axis=0) - expected) < 4 * error + 8 / d)
