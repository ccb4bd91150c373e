"""The link against numpy's Hermite series, starts on the sphere, and a step of SGD written out."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import hermite_e

from closedform.models.fully_connected import spherical_unit
from zoo.checks import rejected

COEFFICIENTS = (0.2, -0.5, 1.0, 0.3)
PLAIN = np.array([c / math.sqrt(math.factorial(k)) for k, c in enumerate(COEFFICIENTS)])  # of He_k
CONFIG = spherical_unit.Config(6, COEFFICIENTS)


def key(seed=0):
    return jax.random.key(seed, impl="threefry2x32")


def test_the_link_is_a_series_of_orthonormal_polynomials():
    u = np.linspace(-3, 3, 7)

    def assert_series(coefficients):
        found = spherical_unit.link(jnp.asarray(coefficients), jnp.asarray(u))
        np.testing.assert_allclose(found, hermite_e.hermeval(u, PLAIN), rtol=1e-12, atol=1e-12)

    assert_series(COEFFICIENTS)
    rejected(assert_series, PLAIN)


def test_starts():
    """On the sphere, with the first coordinates asked for, and none in common but these."""
    overlaps = jnp.array([0.3, -0.4])
    one, other = (spherical_unit.with_overlaps(key(seed), CONFIG, overlaps) for seed in (0, 1))
    for params in (one, other, spherical_unit.init(key(), CONFIG)):
        np.testing.assert_allclose(jnp.linalg.norm(params.w), 1, rtol=1e-12)
        np.testing.assert_array_equal(params.coefficients, COEFFICIENTS)
    np.testing.assert_array_equal(one.w[:2], overlaps)
    assert not np.any(np.isclose(one.w[2:], other.w[2:]))


def test_a_step():
    """w + eta y g'(w.x) x over its length."""
    params, rng = spherical_unit.init(key(), CONFIG), np.random.default_rng(0)
    x, y, eta = rng.normal(size=6), 0.7, 0.1
    w = np.asarray(params.w)
    moved = w + eta * y * hermite_e.hermeval(w @ x, hermite_e.hermeder(PLAIN)) * x

    def assert_step(eta):
        found = spherical_unit.step(params, jnp.asarray(x), jnp.asarray(y), eta)
        np.testing.assert_allclose(found.w, moved / np.linalg.norm(moved), rtol=1e-12)
        np.testing.assert_array_equal(found.coefficients, COEFFICIENTS)

    assert_step(eta)
    rejected(assert_step, -eta)
    np.testing.assert_allclose(spherical_unit.apply(params, x), hermite_e.hermeval(w @ x, PLAIN), rtol=1e-12)
