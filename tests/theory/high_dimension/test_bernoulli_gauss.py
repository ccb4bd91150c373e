"""The Bayes-optimal error of sparse weights: recorded numbers, plain quadrature, a Gaussian prior, thresholds."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from closedform.theory.high_dimension import bernoulli_gauss
from zoo.calls import Call
from zoo.checks import rejected

CALLS = [
    Call(
        bernoulli_gauss.mmse,
        {"precision": np.array([0.5, 10.0]), "density": 0.2, "slab_variance": 2.0},
        scaling={"precision": -1, "slab_variance": 1},
        degree=1,
    ),
    Call(
        bernoulli_gauss.state_evolution,
        {"ratio": 0.5, "density": 0.2, "slab_variance": 2.0, "noise_variance": 0.01, "num_steps": 3, "start": 0.3},
        scaling={"slab_variance": 1, "noise_variance": 1, "start": 1},
        degree=1,
    ),
    Call(bernoulli_gauss.recovery_threshold, {"density": np.array([0.1, 0.4])}),
]


def by_quadrature(precision, eps, v):
    """Prior variance less the mean square of the posterior mean, over the channel's output."""
    narrow, wide = 1 / np.sqrt(precision), np.sqrt(v + 1 / precision)

    def square(h):
        slab, zero = eps * scipy.stats.norm.pdf(h, scale=wide), (1 - eps) * scipy.stats.norm.pdf(h, scale=narrow)
        return (slab * v / wide**2 * h) ** 2 / (slab + zero)

    edges = np.concatenate([np.arange(0, 12) * narrow, np.arange(0.5, 13) * wide])
    edges = np.unique(edges[edges < 12 * wide])
    parts = [scipy.integrate.quad(square, a, b, epsabs=1e-14)[0] for a, b in itertools.pairwise(edges)]
    return eps * v - 2 * sum(parts)


def assert_mmse(mmse_fn):
    points = np.array([[10.0, 0.2, 1.0], [0.3, 0.2, 5.0], [300.0, 0.05, 2.0], [2.0, 0.9, 1.0]])
    expected = [by_quadrature(*point) for point in points]
    np.testing.assert_allclose(mmse_fn(*points.T), expected, rtol=1e-8)
    np.testing.assert_allclose(mmse_fn(10.0, 0.2, 1.0), 0.035277181507, rtol=2e-11)


def test_mmse():
    mmse = jax.jit(bernoulli_gauss.mmse)
    assert_mmse(mmse)
    rejected(assert_mmse, lambda a, eps, v: mmse(1 / a, eps, v))
    rejected(assert_mmse, lambda a, eps, v: mmse(a, eps, v**2))
    rejected(assert_mmse, lambda a, eps, v: eps * v / (1 + a * v))  # as if the places were known
    # far ends: the prior, known places, a Gaussian prior
    ends = np.asarray(mmse(np.array([0.0, 1e12, 3.0]), np.array([0.2, 0.2, 1.0]), np.array([2.0, 2.0, 2.0])))
    np.testing.assert_allclose(ends, [0.4, 0.2e-12, 2 / 7], rtol=1e-4)
    np.testing.assert_allclose(ends[[0, 2]], [0.4, 2 / 7], rtol=1e-14)


def test_thresholds():
    density = np.array([0.1, 0.2, 0.4])
    thresholds = np.asarray(bernoulli_gauss.recovery_threshold(density))

    def assert_thresholds(values):
        np.testing.assert_allclose(values, [0.207559079, 0.355410828, 0.589246001], rtol=3e-9)

    assert_thresholds(thresholds)
    rejected(assert_thresholds, density)  # the limit of every method
    grid = np.exp(np.linspace(-2, 8, 2000))
    scanned = [np.max(grid * np.asarray(bernoulli_gauss.mmse(grid, eps))) for eps in density]
    np.testing.assert_allclose(thresholds, scanned, rtol=1e-5)
    assert np.all(thresholds >= scanned)


EVOLVED = [0.2, 0.1058223, 0.06815128, 0.04703731, 0.03334128, 0.02376309]


def test_state_evolution():
    evolve = jax.jit(bernoulli_gauss.state_evolution, static_argnums=4)
    rows = np.array([[0.5, 0.2, 1.0, 1e-4], [0.34, 0.2, 1.0, 1e-4], [0.36, 0.2, 1.0, 1e-4], [1.5, 1.0, 2.0, 0.3]])
    from_zero = np.asarray(evolve(*rows.T, 900, rows[:, 1] * rows[:, 2]))
    from_truth = np.asarray(evolve(*rows.T, 900, np.zeros(4)))

    def assert_evolution(errors):
        np.testing.assert_allclose(errors[:6, 0], EVOLVED, rtol=5e-7)
        np.testing.assert_allclose(errors[-1], [9.051576e-5, 0.05265712, 2.319171e-4, 0.361187421], rtol=5e-7)

    assert_evolution(from_zero)
    rejected(assert_evolution, from_truth)
    rejected(assert_evolution, np.asarray(evolve(*(rows * [1, 1, 1, 2]).T, 900, rows[:, 1] * rows[:, 2])))
    rejected(assert_evolution, np.asarray(evolve(*(rows / [1.1, 1, 1, 1]).T, 900, rows[:, 1] * rows[:, 2])))
    np.testing.assert_allclose(from_truth[-1, 1:3], [3.069504e-4, 2.319171e-4], rtol=5e-7)
    np.testing.assert_array_equal(bernoulli_gauss.state_evolution(0.5, 0.2, 1.0, 0.0, 3, 0.0), 0)
    # a Gaussian prior is ridge regression at the best ridge, lambda = Delta/v: lambda V^2 + (lambda + alpha - 1) V - 1 = 0
    ridge, alpha, delta = 0.15, 1.5, 0.3
    V = (1 - ridge - alpha + np.sqrt((ridge + alpha - 1) ** 2 + 4 * ridge)) / (2 * ridge)
    s = alpha * V**2 / (1 + V) ** 2
    np.testing.assert_allclose(from_zero[-1, 3], (2 * ridge**2 * V**2 + delta * s) / (1 - s), rtol=1e-12)


def test_default_start():
    np.testing.assert_allclose(bernoulli_gauss.state_evolution(0.5, 0.2, 1.0, 1e-4, 5), EVOLVED, rtol=5e-7)
    with pytest.raises(ValueError, match=r"^num_steps must be at least 0, got -1$"):
        bernoulli_gauss.state_evolution(0.5, 0.2, 1.0, 1e-4, -1)
    assert jnp.isfinite(bernoulli_gauss.mmse(jnp.float32(1e6), 0.2))
