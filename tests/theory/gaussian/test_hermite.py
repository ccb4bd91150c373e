"""Hermite series against closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from closedform.theory.gaussian import hermite, relu_moments
from zoo.calls import Call
from zoo.checks import rejected
from zoo.gaussian_pairs import pdf


def relu_coefficients(num_terms):
    """Derived here: c_0 = 1/sqrt(2 pi), c_1 = 1/2, c_2m = (-1)^(m+1) (2m - 3)!!/sqrt(2 pi (2m)!), other odd ones vanish."""
    coefficients = np.zeros(num_terms)
    coefficients[:3] = 1 / math.sqrt(2 * math.pi), 1 / 2, 1 / math.sqrt(4 * math.pi)
    for k in range(4, num_terms, 2):
        coefficients[k] = -coefficients[k - 2] * (k - 3) / math.sqrt(k * (k - 1))
    return coefficients


def assert_hermite(function):
    np.testing.assert_allclose(function(jax.nn.relu, 101), relu_coefficients(101), rtol=0, atol=5e-15)
    exact = [math.exp(0.125) * 0.5**k / math.sqrt(math.factorial(k)) for k in range(30)]
    np.testing.assert_allclose(function(lambda z: jnp.exp(z / 2), 30), exact, rtol=0, atol=1e-13)
    square = function(lambda z: (z**3 - 3 * z) / math.sqrt(6), 6)
    np.testing.assert_allclose(square, [0, 0, 0, 1, 0, 0], rtol=0, atol=1e-13)


def test_hermite_coefficients():
    assert_hermite(hermite.hermite_coefficients)
    rejected(assert_hermite, lambda *args: hermite.hermite_coefficients(*args, kinks=()))
    factorials = np.array([math.sqrt(math.factorial(k)) for k in range(101)])
    rejected(assert_hermite, lambda f, n: hermite.hermite_coefficients(f, n) * factorials[:n])  # He_k, not orthonormal
    shifted = hermite.hermite_coefficients(lambda z: jax.nn.relu(z - 1), 2, kinks=(1.0,))
    np.testing.assert_allclose(shifted, [pdf(1) - special.ndtr(-1), special.ndtr(-1)], atol=1e-14)


def test_activations_that_return_no_floats_and_kinks_anywhere():
    """c_0 = 1/2 and c_1 = phi(0) of the step; a constant; kinks beyond the rule, twice, unsorted, as an array."""
    step = hermite.hermite_coefficients(lambda z: z > 0, 2)
    np.testing.assert_allclose(step, [0.5, pdf(0)], atol=1e-14)
    assert step.dtype == jnp.float64
    np.testing.assert_allclose(hermite.hermite_coefficients(lambda z: 2, 3), [2, 0, 0], atol=1e-13)
    for kinks in ([50, 0, 0, -13], np.array([0.0, -1e9]), (True, False)):
        np.testing.assert_allclose(hermite.hermite_coefficients(jax.nn.relu, 5, kinks), relu_coefficients(5), atol=1e-14)
    for terms, kinks, message in ((0, (), "num_terms must be at least 1"), (2, [math.nan], "kinks must be finite")):
        with pytest.raises(ValueError, match=message):
            hermite.hermite_coefficients(jax.nn.relu, terms, kinks)


def test_hermite_dual():
    rho = np.linspace(-1, 1, 9)
    series = hermite.hermite_dual(jnp.asarray(relu_coefficients(101)), rho)
    np.testing.assert_allclose(series[1:-1], relu_moments.arc_cosine(1, rho[1:-1]), atol=1e-14)  # 0.75^100 is left out
    # at +-1 the terms c_k^2 beyond 100, of order k^(-5/2), are left out
    np.testing.assert_allclose(series[-1], 0.5, atol=1e-3)
    np.testing.assert_allclose(series[-1], np.sum(relu_coefficients(101) ** 2), rtol=1e-14)


@pytest.mark.slow
def test_dtype_follows_the_input():
    row = jnp.full(3, 0.2, jnp.float32)
    result = jax.eval_shape(hermite.hermite_dual, row, row)
    assert (result.dtype, result.shape) == (jnp.float32, (3,))


def test_a_correlation_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"^correlation must be at least"):
        hermite.hermite_dual([1, 2], 2)


def of_tanh(scale):
    return hermite.hermite_coefficients(lambda z: jnp.tanh(jnp.asarray(scale, z.dtype) * z), 12)


CALLS = [
    Call(of_tanh, {"scale": 0.8}, of=hermite.hermite_coefficients),
    Call(
        hermite.hermite_dual,
        {"coefficients": np.array([0.4, 0.5, 0.0, -0.2]), "correlation": np.array([0.6, -0.3])},
        scaling={"coefficients": 1},
        degree=2,
    ),
]
