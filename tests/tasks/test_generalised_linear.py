"""Labels and numbers against the laws of their teachers, the exact norm, clusters, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from closedform.tasks import gaussian_mixture, generalised_linear
from zoo.checks import rejected


def key(seed=0):
    return jax.random.key(seed, impl="threefry2x32")


SAMPLES = 40_000


@functools.cache
def theta():
    return generalised_linear.teacher(key(9), 7, 4.0)


def assert_law(sampled, chance_fn):
    """In ten slices of the field u the share of the label 1 is its mean chance, within 5 standard errors."""
    x, y = (np.asarray(part) for part in sampled)
    assert set(np.unique(y)) == {-1.0, 1.0}
    u = x @ np.asarray(theta()) / np.sqrt(7)
    np.testing.assert_allclose(u.var(), 4, rtol=0.05)
    for part in np.array_split(np.argsort(u), 10):
        chance = chance_fn(u[part])
        error = 5 * np.sqrt(np.mean(chance * (1 - chance)) / len(part)) + 1e-12
        np.testing.assert_allclose(np.mean(y[part] > 0), chance.mean(), rtol=0, atol=error)


@pytest.mark.parametrize(
    ("options", "chance_fn"),
    [
        ({}, lambda u: (u > 0) * 1.0),
        ({"width": 0.5}, lambda u: stats.norm.cdf(u / 0.5)),
        ({"link": "logit"}, lambda u: 1 / (1 + np.exp(-u))),
        ({"width": 0.5, "flips": 0.2}, lambda u: 0.2 + 0.6 * stats.norm.cdf(u / 0.5)),
        ({"flips": 0.5}, lambda u: np.full_like(u, 0.5)),
    ],
)
def test_labels(options, chance_fn):
    sampled = generalised_linear.sample_labels(key(1), SAMPLES, theta(), **options)
    assert_law(sampled, chance_fn)
    rejected(assert_law, sampled, lambda u: stats.norm.cdf(u))  # a width of 1
    if options:
        rejected(assert_law, (sampled[0], jnp.sign(sampled[0] @ theta())), chance_fn)


def test_the_norm_is_exact():
    for dim, norm in ((1, 1.0), (50, 3.0)):
        theta = generalised_linear.teacher(key(dim), dim, norm)
        np.testing.assert_allclose(theta @ theta / dim, norm, rtol=1e-14)


def assert_noise(residual):
    """Nine tenths of variance .1 and one tenth of variance 10: mean square and mean fourth power."""
    np.testing.assert_allclose(np.mean(residual**2), 1.09, rtol=0.06)
    np.testing.assert_allclose(np.mean(residual**4), 3 * (0.9 * 0.01 + 0.1 * 100), rtol=0.15)


def test_numbers():
    x, y = generalised_linear.sample_numbers(key(2), SAMPLES, theta(), (0.1, 10.0), (0.9, 0.1))
    residual = np.asarray(y - x @ theta() / np.sqrt(7))
    assert_noise(residual)
    rejected(assert_noise, residual**2)
    rejected(assert_noise, np.random.default_rng(0).normal(size=SAMPLES) * 1.09**0.5)  # one variance for all
    x, y = generalised_linear.sample_numbers(key(2), 5, theta())
    np.testing.assert_allclose(y, x @ theta() / np.sqrt(7), rtol=1e-13)


def assert_clusters(x, y, centre):
    of_label = np.asarray(y)[:, None] * np.asarray(x)
    np.testing.assert_allclose(np.mean(np.asarray(y) > 0), 0.2, atol=0.01)
    np.testing.assert_allclose(of_label.mean(axis=0), centre / np.sqrt(7), atol=0.02)
    np.testing.assert_allclose(np.cov(of_label.T), 0.5 * np.eye(7), atol=0.02)


def test_clusters():
    centre = generalised_linear.teacher(key(3), 7)
    sampled = jax.jit(gaussian_mixture.sample, static_argnums=1)(key(4), SAMPLES, centre, 0.5, 0.2)
    x, y, centre = (np.asarray(part) for part in (*sampled, centre))
    assert_clusters(x, y, centre)
    rejected(assert_clusters, x, -y, centre)
    rejected(assert_clusters, x, y, np.sqrt(7) * centre)
    rejected(assert_clusters, 2**0.5 * (x - y[:, None] * centre / 7**0.5), y, centre)


def test_refusals():
    for message, call in {
        "dim must be at least 1, got 0": lambda: generalised_linear.teacher(key(), 0),
        "num_samples must be at least 1, got 0": lambda: generalised_linear.sample_labels(key(), 0, theta()),
        "noise_weights must be as many as noise_variances": lambda: generalised_linear.sample_numbers(
            key(), 3, theta(), (0.1, 1.0), (1.0,)
        ),
    }.items():
        with pytest.raises(ValueError, match=f"^{message}"):
            call()
    with pytest.raises(ValueError, match=r"^num_samples must be at least 1, got 0$"):
        gaussian_mixture.sample(key(), 0, theta())
