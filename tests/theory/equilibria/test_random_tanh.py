"""The mean-field equation against scipy's quadrature, its limits, and one sampled network."""

import itertools

import jax
import numpy as np
import scipy.integrate
import scipy.optimize

from closedform.theory.equilibria import random_tanh
from zoo.calls import Call
from zoo.checks import rejected

SETTINGS = [(0.8, 0.25), (1.2, 1.0), (1.5, 1.0), (3.0, 0.01), (40.0, 2.0)]
equilibrium = jax.jit(random_tanh.equilibrium)


def variance(s, tau2):
    return equilibrium(s, tau2).preactivation_variance


def gain(s, tau2):
    return equilibrium(s, tau2).gain


def mean(function, q):
    """E function(sqrt(q) xi), where the integrand is, by adaptive quadrature."""
    width = min(1, 5 / np.sqrt(q))
    pieces = np.unique([0, width / 4, width, 3 * width, 9.0])
    weighted = lambda xi: function(np.sqrt(q) * xi) * np.exp(-(xi**2) / 2) / np.sqrt(2 * np.pi)  # noqa: E731
    return 2 * sum(scipy.integrate.quad(weighted, *ends, epsabs=1e-15, epsrel=1e-13)[0] for ends in itertools.pairwise(pieces))


def assert_mean_field(variance_fn, gain_fn):
    for s, tau2 in SETTINGS:
        q = float(variance_fn(s, tau2))
        root = scipy.optimize.brentq(
            lambda q, s=s, tau2=tau2: s**2 * mean(lambda u: np.tanh(u) ** 2, q) + tau2 - q,
            tau2,
            s**2 + tau2,
            xtol=1e-14,
            rtol=1e-14,
        )
        np.testing.assert_allclose(q, root, rtol=1e-11)
        np.testing.assert_allclose(gain_fn(s, tau2), s**2 * mean(lambda u: np.cosh(u) ** -4.0, root), rtol=1e-10)


def test_mean_field_equation():
    assert_mean_field(variance, gain)
    rejected(assert_mean_field, lambda s, tau2: variance(s, np.sqrt(tau2)), gain)
    rejected(assert_mean_field, lambda s, tau2: variance(np.sqrt(s), tau2), gain)
    rejected(assert_mean_field, variance, lambda s, tau2: gain(s, tau2) / s**2)
    rejected(assert_mean_field, variance, lambda s, tau2: s**2 * (1 - (variance(s, tau2) - tau2) / s**2))  # E sech^2
    rejected(assert_mean_field, lambda s, tau2: tau2 * np.ones(()), gain)  # the input alone


def test_the_radius_recorded_before():
    """Three values of an independent calculation, three digits each."""
    found = [gain(*setting) ** 0.5 for setting in SETTINGS[:3]]
    np.testing.assert_allclose(found, [0.636, 0.734, 0.868], atol=5.1e-4)


def test_limits():
    np.testing.assert_allclose(variance(0.0, 0.7), 0.7, rtol=1e-14)
    np.testing.assert_allclose(variance(0.5, 1e-12), 1e-12 / (1 - 0.25), rtol=1e-9)  # linear
    np.testing.assert_allclose(gain(0.5, 1e-12), 0.25, rtol=1e-9)
    q = 1e8 + 1.0  # saturated: z = +-1, and sech^4 has the integral 4/3
    np.testing.assert_allclose(variance(1e4, 1.0), q, rtol=1e-3)
    np.testing.assert_allclose(gain(1e4, 1.0), 1e8 * 4 / 3 / np.sqrt(2 * np.pi * q), rtol=1e-3)
    np.testing.assert_allclose(equilibrium(0.3, 1e-10).spread, 1, rtol=1e-8)


def test_the_radial_law():
    """Against the law of rows, at variances drawn from a fine rule of their own."""
    s, tau2 = 1.5, 1.0
    xi = np.linspace(-8, 8, 4001)
    weights = np.exp(-(xi**2) / 2) / np.sum(np.exp(-(xi**2) / 2))
    v = s**2 / np.cosh(np.sqrt(float(variance(s, tau2))) * xi) ** 4
    np.testing.assert_allclose(equilibrium(s, tau2).spread, weights @ v**2 / (weights @ v) ** 2, rtol=1e-10)
    radii = np.array([0.05, 0.4, 0.8])
    shares = random_tanh.radial_cdf(radii, s, tau2)
    for r, share in zip(radii, shares, strict=True):
        x = scipy.optimize.brentq(lambda x, r=r: weights @ (x * v / (x + v)) - r**2, 1e-9, 1e6, xtol=1e-14, rtol=1e-14)
        np.testing.assert_allclose(share, 1 - r**2 / x, rtol=1e-9)


def test_a_sampled_network():
    """One network of 500 units: q* and chi within four standard deviations, 1/sqrt(n) of their units' squares."""
    s, tau2, n = 1.2, 1.0, 500
    rng = np.random.default_rng(0)
    weights, u, z = rng.normal(size=(n, n)) * s / np.sqrt(n), rng.normal(size=n) * np.sqrt(tau2), np.zeros(n)
    for _ in range(200):
        z = np.tanh(weights @ z + u)
    squares = (weights @ z + u) ** 2
    assert abs(np.mean(squares) - float(variance(s, tau2))) < 4 * np.std(squares) / np.sqrt(n)
    rows = np.sum(((1 - z**2)[:, None] * weights) ** 2, axis=1)
    assert abs(np.mean(rows) - float(gain(s, tau2))) < 4 * np.std(rows) / np.sqrt(n)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

NUMBERS = {"weight_scale": np.array([1.2, 0.8]), "input_variance": np.array([1.0, 0.25])}
CALLS = [
    Call(random_tanh.equilibrium, NUMBERS),
    Call(random_tanh.radial_cdf, {"radius": np.array([0.3, 0.7]), "weight_scale": 1.2, "input_variance": 1.0}),
]
