"""Spikes against recorded numbers, the equations of the resolvent, sampled matrices, and plain quadrature."""

import jax
import numpy as np
import pytest

from closedform.theory.random_matrices import marchenko_pastur, spiked
from zoo.calls import Call
from zoo.checks import rejected

CALLS = [
    Call(spiked.covariance_spike, {"strength": np.array([0.3, 2.0]), "ratio": 0.5}),
    Call(spiked.wigner_spike, {"strength": np.array([0.5, 2.0])}),
    Call(spiked.binary_overlaps, {"strength": 1.5, "side_information": 0.1, "num_steps": 3}),
]


def assert_covariance(spike_fn):
    """Recorded; and the eigenvalue is where the companion transform mm is -1/(1 + ell), the overlap the residue there."""
    np.testing.assert_allclose(spike_fn(2.0, 0.5), [3.75, 0.7], rtol=1e-13)
    np.testing.assert_allclose(spike_fn(3.0, 1.0), [16 / 3, 2 / 3], rtol=1e-13)
    for ell, c in ((2.0, 0.5), (3.0, 1.0), (1.2, 0.3)):
        z, overlap = map(float, spike_fn(ell, c))
        # the noise alone has the resolvent m(z); a spike of the population puts a pole where -1/mm(z) = 1 + ell
        companion = lambda at, c=c: float(marchenko_pastur.companion_stieltjes(at, c))  # noqa: E731
        np.testing.assert_allclose(-1 / companion(z), 1 + ell, rtol=1e-9)
        # u' (M - z)^-1 u = -1/(z (1 + (1 + ell) mm(z))), whose residue is minus the squared overlap
        step = 1e-4
        slope = (1 + ell) * (companion(z + step) - companion(z - step)) / (2 * step)
        np.testing.assert_allclose(overlap, 1 / (z * slope), rtol=1e-5)
    np.testing.assert_allclose(spike_fn(0.5, 0.5), [(1 + np.sqrt(0.5)) ** 2, 0], rtol=1e-14)


def test_covariance():
    assert_covariance(spiked.covariance_spike)
    rejected(assert_covariance, lambda ell, c: spiked.covariance_spike(ell, 1 / c))  # n/d for d/n
    rejected(
        assert_covariance,
        lambda ell, c: spiked.covariance_spike(ell, c)._replace(overlap=np.sqrt(spiked.covariance_spike(ell, c).overlap)),
    )
    rejected(assert_covariance, lambda ell, c: spiked.covariance_spike(ell + 1, c))  # the eigenvalue of the population
    # both are continuous at the transition
    edge = np.sqrt(0.5)
    below, above = (spiked.covariance_spike(edge * factor, 0.5) for factor in (1, 1 + 1e-9))
    np.testing.assert_allclose(above, below, atol=1e-8)


def test_wigner():
    def assert_wigner(values):
        np.testing.assert_allclose(values, [[2, 2, 2.5, 10 / 3], [0, 0, 0.75, 8 / 9]], rtol=1e-14)

    strengths = np.array([0.0, 1.0, 2.0, 3.0])
    assert_wigner(spiked.wigner_spike(strengths))
    rejected(assert_wigner, spiked.wigner_spike(strengths / 2))
    rng, found = np.random.default_rng(0), []
    for _ in range(20):
        noise = rng.standard_normal((120, 120)) / np.sqrt(240)
        values, vectors = np.linalg.eigh(noise + noise.T + 2.0 / 120)
        found.append([values[-1], np.sum(vectors[:, -1]) ** 2 / 120])
    error = np.std(found, axis=0) / np.sqrt(19)
    assert np.all(np.abs(np.mean(found, axis=0) - [2.5, 0.75]) < 4 * error + 2 / 120)


RECORDED = [0.0913406012, 0.1730672365, 0.2906564578, 0.4221924219, 0.5342067167, 0.6092248418]


def test_binary_overlaps():
    def assert_overlaps(overlaps):
        np.testing.assert_allclose(overlaps, RECORDED, rtol=6e-10)

    assert_overlaps(spiked.binary_overlaps(1.5, 0.1, 5))
    rejected(assert_overlaps, spiked.binary_overlaps(1.5**0.5, 0.1, 5))  # lambda in place of its square
    rejected(assert_overlaps, spiked.binary_overlaps(1.5, 0.1, 6)[1:])
    # a wide range of g, by a fine sum
    start = np.array([1e-6, 0.5, 30.0, 1000.0, 0.0])
    xi = np.linspace(-14, 14, 400_001)
    density = np.exp(-(xi**2) / 2) / np.sqrt(2 * np.pi) * (xi[1] - xi[0])
    summed = [density @ np.tanh(g + np.sqrt(g) * xi) for g in start]
    first = np.asarray(jax.jit(spiked.binary_overlaps, static_argnums=2)(1.0, start, 0)[0])
    np.testing.assert_allclose(first, summed, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(first[0], 1e-6 * (1 - 1e-6), rtol=1e-9)  # g - g^2 + ..


@pytest.mark.slow
def test_message_passing():
    """In numpy at d = 1500, 12 draws; without Onsager's term it leaves the curve."""
    rng, d, lam, known = np.random.default_rng(0), 1500, 1.5, 0.3

    def mean_and_error(onsager):
        found = []
        for _ in range(12):
            v = rng.choice([-1.0, 1.0], d)
            noise = rng.standard_normal((d, d)) / np.sqrt(2 * d)
            matrix = noise + noise.T + lam * np.outer(v, v) / d
            f, before, overlaps = np.tanh(known * v + np.sqrt(known) * rng.standard_normal(d)), np.zeros(d), []
            for _ in range(6):
                overlaps.append(f @ v / d)
                w = lam * matrix @ f - onsager * lam**2 * (1 - np.mean(f**2)) * before
                f, before = np.tanh(w), f
            found.append(overlaps)
        return np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(11)

    expected = np.asarray(spiked.binary_overlaps(lam, known, 5))

    def assert_agrees(mean, error):
        assert np.all(np.abs(mean - expected) < 4 * error + 5 / d)

    assert_agrees(*mean_and_error(1))
    rejected(assert_agrees, *mean_and_error(0))
