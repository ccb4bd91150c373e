"""Steps of either kind against the gradients written out in numpy, and the heads against least squares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.linear import value_features
from zoo.checks import rejected

RNG = np.random.default_rng(0)
PHI, G = RNG.standard_normal((5, 2)), RNG.standard_normal((7, 5))
P = RNG.dirichlet(np.ones(5), 5)
L = np.eye(5) - 0.8 * P
monte_carlo, temporal = map(jax.jit, (value_features.monte_carlo_step, value_features.temporal_difference_step))


def params():
    return value_features.Params(jnp.asarray(PHI))


def assert_monte_carlo(step_fn):
    """Phi - 2 eta mean (Phi w - v) w^T with w by least squares."""
    w = np.linalg.lstsq(PHI, G.T)[0].T
    expected = PHI - 0.1 * 2 * (PHI @ w.T - G.T) @ w / 7
    np.testing.assert_allclose(step_fn(params(), jnp.asarray(G), 0.1).features, expected, rtol=1e-12)


def assert_temporal(step_fn):
    """Phi + 2 eta mean (g - L Phi w) w^T with Phi^T (g - L Phi w) = 0: no derivative of the target."""
    w = np.linalg.solve(PHI.T @ L @ PHI, PHI.T @ G.T).T
    expected = PHI + 0.1 * 2 * (G.T - L @ PHI @ w.T) @ w / 7
    np.testing.assert_allclose(step_fn(params(), jnp.asarray(G), jnp.asarray(L), 0.1).features, expected, rtol=1e-12)


def test_steps():
    assert_monte_carlo(monte_carlo)
    rejected(assert_monte_carlo, lambda phi, v, eta: monte_carlo(phi, v, 2 * eta))
    assert_temporal(temporal)
    rejected(assert_temporal, lambda phi, g, L, eta: temporal(phi, g, L.T, eta))
    rejected(assert_temporal, lambda phi, g, L, eta: monte_carlo(phi, jnp.linalg.solve(L, g.T).T, eta))

    def residual(start, g, L, eta):  # the gradient of the whole error, target included
        w = value_features.temporal_difference_heads(start, g, L)
        slope = jax.grad(lambda phi: jnp.mean(jnp.sum((w @ (L @ phi).T - g) ** 2, axis=1)))(start.features)
        return value_features.Params(start.features - eta * slope)

    rejected(assert_temporal, residual)


def test_the_step_is_the_gradient_of_the_error_of_the_best_heads():
    values = jnp.asarray(G)

    def best(phi):
        given = value_features.Params(phi)
        return value_features.squared_error(given, value_features.monte_carlo_heads(given, values), values)

    expected = PHI - 0.1 * jax.grad(best)(params().features)
    np.testing.assert_allclose(monte_carlo(params(), jnp.asarray(G), 0.1).features, expected, rtol=1e-10)


def test_features_that_are_zero_are_none():
    wide = value_features.Params(jnp.concatenate([params().features, jnp.zeros((5, 1))], axis=1))
    after = np.asarray(value_features.monte_carlo_step(wide, jnp.asarray(G), 0.1).features)
    np.testing.assert_allclose(after[:, :2], monte_carlo(params(), jnp.asarray(G), 0.1).features, rtol=1e-12)
    np.testing.assert_array_equal(after[:, 2], 0)


def test_features_of_the_start_are_orthonormal_and_keep_their_span():
    key = jax.random.key(0, impl="threefry2x32")
    phi = np.asarray(value_features.init(key, value_features.Config(6, 3)).features)
    np.testing.assert_allclose(phi.T @ phi, np.eye(3), atol=1e-14)
    found = np.asarray(value_features.orthonormal(params()).features)
    np.testing.assert_allclose(found @ (found.T @ PHI), PHI, rtol=1e-12)
    one = value_features.apply(params(), [0, 1, 0, 0, 0])
    np.testing.assert_array_equal(one, PHI[1])


def test_more_features_than_states_are_refused():
    with pytest.raises(ValueError, match=r"^num_features must be at most num_states = 2, got 3$"):
        value_features.Config(2, 3)
