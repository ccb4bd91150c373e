"""Binary weights against Gauss and Hermite's rule, adaptive quadrature and mpmath, and the thresholds by a second route."""

import itertools

import jax
import mpmath
import numpy as np
import pytest
from scipy import integrate, special

from closedform.theory.high_dimension import binary_weights
from zoo.calls import Call
from zoo.checks import rejected

uninformed = jax.jit(binary_weights.uninformed)
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(160)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def prior(k):
    """E tanh(k + sqrt(k) xi): 1e-8 for k up to 5, of 160 nodes."""
    return np.tanh(k + np.sqrt(k) * NODES) @ WEIGHTS


def labels(q, variance, fn):
    """E fn(t) of t ~ N(0, q/s^2), in pieces about the step of fn."""
    width = np.sqrt(q / (variance + 1 - q))

    def integrand(t):
        return fn(t) * np.exp(-((t / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))

    ends = [-10 * width, -8, 0, 8, 10 * width] if width > 0.8 else [-10 * width, 0, 10 * width]
    return sum(integrate.quad(integrand, a, b, epsabs=1e-13, epsrel=1e-11)[0] for a, b in itertools.pairwise(ends))


def squares(t):
    return np.exp(-(t**2) - special.log_ndtr(t)) / (2 * np.pi)


def plog(t):
    return np.exp(special.log_ndtr(t)) * special.log_ndtr(t)


def conjugate(q, ratio, variance):
    return 2 * ratio / (variance + 1 - q) * (labels(q, variance, squares) if q > 0 else 1 / np.pi)


def assert_solves(uninformed_fn):
    """Overlap by the equation itself, entropy by the formula itself."""
    ratios = np.array([0.2, 1.0, 1.4])
    overlap, entropy = map(np.asarray, uninformed_fn(ratios))
    for ratio, q, s in zip(ratios, overlap, entropy, strict=True):
        k = conjugate(q, ratio, 0.0)
        np.testing.assert_allclose(prior(k), q, rtol=0, atol=1e-8)
        log = np.logaddexp(k + np.sqrt(k) * NODES, -(k + np.sqrt(k) * NODES)) @ WEIGHTS
        np.testing.assert_allclose(log - k * (1 + q) / 2 + 2 * ratio * labels(q, 0.0, plog), s, rtol=0, atol=1e-8)


def test_uninformed_solution():
    assert_solves(uninformed)
    rejected(assert_solves, lambda ratio: uninformed(2 * ratio / 3))
    rejected(assert_solves, lambda ratio: uninformed(ratio)._replace(entropy=uninformed(ratio).entropy / np.log(2)))
    beyond = uninformed(np.array([1.5, 3.0, 1e6]))
    np.testing.assert_array_equal(beyond.overlap, 1)
    np.testing.assert_array_equal(beyond.entropy, 0)
    np.testing.assert_allclose(uninformed(np.array([1e-9, 1.0, 1.4])).entropy[0], np.log(2), rtol=1e-8)


def assert_thresholds(thresholds):
    """Reference numbers, and the states there."""
    np.testing.assert_allclose(thresholds, [1.244683990, 1.492631818], rtol=0, atol=5e-10)
    at = uninformed(np.array([float(thresholds[0]), float(thresholds[1]) - 1e-13, 1.0]))
    # the overlap rises like a root below the algorithmic threshold, which is known to 1e-16
    np.testing.assert_allclose(at.overlap[:2], [0.693760220, 0.893661413], rtol=0, atol=5e-7)
    np.testing.assert_allclose(at.overlap[0], 0.693760220, rtol=0, atol=5e-10)
    np.testing.assert_allclose(at.entropy[0], 0, atol=1e-9)
    np.testing.assert_allclose(np.arccos(np.sqrt(at.overlap[0])) / np.pi, 0.186665829, rtol=0, atol=5e-10)


def test_thresholds():
    found = jax.jit(binary_weights.thresholds)()
    assert_thresholds(found)
    rejected(assert_thresholds, found[::-1])


def test_the_entropy_is_what_the_labels_have_said():
    """dS/dalpha = 2 E Phi ln Phi: from ln 2 down to 0 at the information threshold, by Gauss and Legendre's rule."""

    def assert_falls_to_zero(end):
        x, weights = np.polynomial.legendre.leggauss(15)
        overlaps = [uninformed(ratios).overlap for ratios in (end * (1 + x) / 2).reshape(5, 3)]
        slope = [2 * labels(float(q), 0.0, plog) for q in np.ravel(overlaps)]
        assert abs(np.log(2) + end / 2 * weights @ slope) < 1e-8

    end = 1.244683990  # by `thresholds`
    assert_falls_to_zero(end)
    rejected(assert_falls_to_zero, end * (1 + 1e-6))


@pytest.mark.slow
def test_the_algorithmic_threshold_in_thirty_digits():
    """The maximum of alpha(hat q), by mpmath and the trapezoidal rule in the variable h."""
    with mpmath.workdps(30):
        h = mpmath.mpf(1) / 8

        def mills(t):
            return mpmath.exp(-(t**2) / 2) / mpmath.sqrt(2 * mpmath.pi) / (mpmath.erfc(-t / mpmath.sqrt(2)) / 2)

        def ratio(k):
            terms = (mpmath.sech(h * i) * mpmath.exp(-((h * i) ** 2) / (2 * k)) for i in range(-640, 641))
            v = mpmath.exp(-k / 2) / mpmath.sqrt(2 * mpmath.pi * k) * h * mpmath.fsum(terms)
            density = ((h * i, mpmath.npdf(h * i)) for i in range(-96, 97))
            mean = h * mpmath.fsum(weight * mills(mpmath.sqrt(1 - v) * x) for x, weight in density)
            return k * mpmath.sqrt(2 * mpmath.pi * v) / (2 * mean)

        top = mpmath.findroot(lambda k: mpmath.diff(ratio, k), (3.2, 3.3), tol=1e-20, maxsteps=8, verify=False)
    np.testing.assert_allclose(binary_weights._TOP, float(top), rtol=1e-15)
    np.testing.assert_allclose(binary_weights.thresholds().algorithmic, float(ratio(top)), rtol=1e-14)


evolution = jax.jit(lambda *numbers: binary_weights.state_evolution([0, 1, 2, 3, 400], *numbers))


def assert_iterates(evolution_fn):
    q, ratio, variance = 0.0, 1.1, 0.3
    found = evolution_fn(ratio, variance**0.5)
    assert found[0] == 0
    for step in range(1, 4):
        q = prior(conjugate(q, ratio, variance))
        np.testing.assert_allclose(found[step], q, rtol=0, atol=1e-8)


def test_state_evolution():
    assert_iterates(evolution)
    rejected(assert_iterates, lambda ratio, tau: evolution(ratio, 0.0))
    rejected(assert_iterates, lambda ratio, tau: evolution(ratio, tau**2))
    ends = [evolution(ratio, 0.0)[-1] for ratio in (1.45, 1.6)]
    np.testing.assert_allclose(ends, [uninformed(np.array([1.0, 1.4, 1.45])).overlap[2], 1], rtol=1e-9)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def below_the_threshold(rng):
    return {"ratio": 10 ** rng.uniform(-3, 0.15, 2)}


CALLS = [
    Call(binary_weights.thresholds, {}),
    Call(
        binary_weights.uninformed,
        {"ratio": np.array([0.3, 1.2])},
        edges={"ratio": [1e-9, 1.49, 1.5, 1e3]},
        draw=below_the_threshold,
    ),
    Call(binary_weights.state_evolution, {"steps": [0, 2, 1], "ratio": 1.1, "noise_std": 0.4}),
]
