"""Moments of hidden units against tensor quadrature in numpy, the closed forms of ReLU, and Monte Carlo."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from closedform.theory.gaussian import committee_integrals as integrals
from zoo.calls import Call
from zoo.checks import rejected

_FACTOR = np.random.default_rng(0).normal(size=(4, 4)) / 2
COVARIANCE = _FACTOR @ _FACTOR.T
SMALL = np.array([[1.2, 0.3], [0.3, 0.7]])


def symmetric_direction(_, rng):
    direction = rng.normal(size=(2, 2))
    return direction + direction.T


def drawn(rng):
    factor = rng.normal(size=(2, 3))
    return {"covariance": factor @ factor.T}


COVARIANCES = {
    "directions": {"covariance": symmetric_direction},
    "draw": drawn,
    "edges": {"covariance": (np.eye(2), 1e3 * SMALL)},
}
CALLS = [
    Call(integrals.output_moments, {"covariance": SMALL}, **COVARIANCES),
    Call(integrals.slope_moments, {"covariance": SMALL}, **COVARIANCES),
    Call(integrals.drift_moments, {"covariance": SMALL}, **COVARIANCES),
    Call(
        integrals.noise_moments,
        {"covariance": SMALL},
        **(COVARIANCES | {"edges": {"covariance": (np.eye(2), 10 * SMALL)}}),  # float32 loses digits beyond, as it says
    ),
]


@functools.cache
def fields():
    """Nodes of four fields of the covariance, and their weights."""
    z, weights = np.polynomial.hermite_e.hermegauss(26)
    weights = weights / weights.sum()
    grid = np.stack(np.meshgrid(z, z, z, z, indexing="ij"), axis=-1) @ np.linalg.cholesky(COVARIANCE).T
    return np.moveaxis(grid, -1, 0), np.einsum("i,j,k,l->ijkl", weights, weights, weights, weights)


def g(u):
    return erf(u / np.sqrt(2))


def slope(u):
    return np.sqrt(2 / np.pi) * np.exp(-(u**2) / 2)


def test_all_integrals_against_quadrature():
    u, weights = fields()

    def mean(values):
        return np.sum(weights * values)

    def assert_means(i2, i3, j2, i4):
        for a, b, c, e in ((0, 1, 2, 3), (0, 0, 1, 2), (0, 1, 1, 1), (2, 2, 2, 2), (3, 1, 0, 1)):
            np.testing.assert_allclose(i2[a, b], mean(g(u[a]) * g(u[b])), rtol=1e-8)
            np.testing.assert_allclose(i3[a, b, c], mean(slope(u[a]) * u[b] * g(u[c])), rtol=1e-8)
            np.testing.assert_allclose(j2[a, b], mean(slope(u[a]) * slope(u[b])), rtol=1e-8)
            np.testing.assert_allclose(i4[a, b, c, e], mean(slope(u[a]) * slope(u[b]) * g(u[c]) * g(u[e])), rtol=1e-8)

    every = jax.jit(
        lambda c: (
            integrals.output_moments(c),
            integrals.drift_moments(c),
            integrals.slope_moments(c),
            integrals.noise_moments(c),
        )
    )
    right = [np.asarray(moments) for moments in every(jnp.asarray(COVARIANCE))]
    assert_means(*right)
    plain = [np.asarray(moments) for moments in every(jnp.asarray(2 * COVARIANCE))]  # erf(u) in place of erf(u/sqrt 2)
    for index in range(4):
        rejected(assert_means, *(plain[k] if k == index else right[k] for k in range(4)))
    rejected(assert_means, right[0], np.moveaxis(right[1], 1, 2), *right[2:])


def test_relu_has_its_closed_forms():
    """The forms of the specification, by the angle; equal fields have no residue of rounding under the root."""
    C, size = COVARIANCE, np.diagonal(COVARIANCE)
    norms = np.sqrt(size[:, None] * size[None])
    theta = np.arccos(np.clip(C / norms, -1, 1))
    i2 = norms * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
    root = np.sqrt(np.maximum(norms**2 - C**2, 0))
    i3 = (C / size[:, None])[:, :, None] * root[:, None, :] + C[None] * (np.pi - theta)[:, None, :]

    def assert_relu(output, drift, slopes):
        np.testing.assert_allclose(output, i2, rtol=1e-10)
        np.testing.assert_allclose(drift, i3 / (2 * np.pi), rtol=1e-7, atol=1e-10)
        np.testing.assert_allclose(slopes, (np.pi - theta) / (2 * np.pi), rtol=1e-7)

    found = [np.asarray(f(C, "relu")) for f in (integrals.output_moments, integrals.drift_moments, integrals.slope_moments)]
    assert_relu(*found)
    rejected(assert_relu, found[0], 2 * found[1], found[2])
    rejected(assert_relu, *found[:2], 2 * found[2])


@pytest.mark.slow
def test_integrals_against_four_million_draws():
    """Within four standard errors."""
    num_draws = 4_000_000
    u = np.random.default_rng(1).normal(size=(num_draws, 4)) @ np.linalg.cholesky(COVARIANCE).T
    a, b, c, e = u.T
    samples = {
        "i2": (g(a) * g(b), integrals.output_moments(COVARIANCE)[0, 1]),
        "i3": (slope(a) * b * g(c), integrals.drift_moments(COVARIANCE)[0, 1, 2]),
        "j2": (slope(a) * slope(b), integrals.slope_moments(COVARIANCE)[0, 1]),
        "i4": (slope(a) * slope(b) * g(c) * g(e), integrals.noise_moments(COVARIANCE)[0, 1, 2, 3]),
        "relu i3": ((a > 0) * b * np.maximum(c, 0), integrals.drift_moments(COVARIANCE, "relu")[0, 1, 2]),
    }
    for values, predicted in samples.values():
        assert abs(np.mean(values) - predicted) < 4 * np.std(values) / num_draws**0.5


def test_singular_covariances():
    """A unit that equals another one, and a field that is 0."""
    twin = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    for activation in (integrals.scaled_erf, "relu"):
        i2, i3, i4 = jax.jit(
            lambda twin, activation=activation: (
                integrals.output_moments(twin, activation),
                integrals.drift_moments(twin, activation),
                integrals.noise_moments(twin),
            )
        )(twin)
        np.testing.assert_allclose(i2[:2, :2], i2[0, 0], rtol=1e-12)
        np.testing.assert_array_equal(i2[2], 0)
        assert np.isfinite(i3).all()
        assert np.isfinite(i4).all()
    with pytest.raises(ValueError, match="covariance must be positive semi-definite"):
        integrals.output_moments([[1.0, 2.0], [2.0, 1.0]])
