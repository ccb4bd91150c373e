"""Weights of a diagonal network, its start, and its gradient against the flow that theory assumes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.linear import diagonal
from zoo.checks import rejected


def test_weights_start_at_zero_and_follow_the_flow_of_the_theory():
    """u' = -2 u g and v' = 2 v g with g = X^T (X beta - y), so that u v is conserved; a sum of squares has another gradient."""
    rng = np.random.default_rng(0)
    x, y, u, v = rng.standard_normal((2, 3)), rng.standard_normal(2), rng.standard_normal(3), rng.standard_normal(3)

    def assert_flow(apply_fn):
        def loss(params):
            return jnp.sum((jax.vmap(apply_fn, (None, 0))(params, jnp.asarray(x)) - y) ** 2) / 2

        slope = jax.grad(loss)(diagonal.Params(jnp.asarray(u), jnp.asarray(v)))
        g = x.T @ (x @ (u**2 - v**2) - y)
        np.testing.assert_allclose(slope.u, 2 * u * g, rtol=1e-12)
        np.testing.assert_allclose(slope.v, -2 * v * g, rtol=1e-12)

    assert_flow(diagonal.apply)
    rejected(assert_flow, lambda params, x: (params.u**2 + params.v**2) @ x)
    start = diagonal.init(jax.random.key(0, impl="threefry2x32"), diagonal.Config(3, 0.3))
    np.testing.assert_array_equal(diagonal.weights(start), 0)
    np.testing.assert_array_equal(start.u, 0.3)
    with pytest.raises(ValueError, match="init_scale must be a number of at least 0, got -1"):
        diagonal.Config(3, -1.0)
