"""Growth rates of waves on the circle against Bessel functions, mpmath and the velocities of tokens in numpy."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.special import ive

from closedform.theory.transformers import circle_tokens
from zoo.calls import Call
from zoo.checks import rejected
from zoo.tokens import velocity

growth_rates = jax.jit(circle_tokens.circle_growth_rates, static_argnums=0, static_argnames="softmax")


def test_circle_growth_numbers():
    expected = [0.104743325, 0.351339267, 0.591350657, 0.704497029]
    np.testing.assert_allclose(growth_rates(4, 9.0), expected, atol=1e-9)
    rejected(np.testing.assert_allclose, growth_rates(4, 9.0, softmax=False), expected, 0.1)
    found = circle_tokens.num_metastable_clusters(np.array([4.0, 9, 16, 25, 49]))
    assert found.tolist() == [3, 4, 6, 7, 10]
    np.testing.assert_array_equal(growth_rates(3, 0.0), [0.5, 0, 0])
    late = circle_tokens.num_metastable_clusters(np.array([400.0, 1600.0]))
    np.testing.assert_allclose(late, np.sqrt([800, 3200]), atol=1)


def test_circle_growth_is_bessel():
    k, beta = np.arange(1, 41), np.array([1e-3, 0.5, 4, 30, 300, 3e3, 1e5])
    scaled = k[:, None] ** 2 * ive(k[:, None], beta) / beta
    found = growth_rates(40, beta)
    np.testing.assert_allclose(found, scaled / ive(0, beta), rtol=1e-11)
    np.testing.assert_allclose(growth_rates(40, beta[:5], softmax=False), scaled[:, :5] * np.exp(beta[:5]), rtol=1e-11)


@pytest.mark.parametrize("softmax", [True, False])
def test_circle_growth_of_tokens(softmax):
    """A small wave on 400 tokens: its velocity is the growth rate times the wave."""
    angles, beta, size = 2 * np.pi * np.arange(400) / 400, 9.0, 1e-5
    rates = np.asarray(growth_rates(6, beta, softmax=softmax))

    def measured(k):
        def speed(wave):
            theta = angles + wave * np.sin(k * angles)
            x = np.stack([np.cos(theta), np.sin(theta)], axis=1)
            across = np.stack([-np.sin(theta), np.cos(theta)], axis=1)
            return np.sum(velocity(x, beta, softmax) * across, axis=1)

        return 2 * np.mean((speed(size) - speed(-size)) / (2 * size) * np.sin(k * angles))

    found = [measured(k) for k in range(1, 7)]
    np.testing.assert_allclose(found, rates, rtol=1e-7)
    rejected(np.testing.assert_allclose, found, rates / np.arange(1, 7), 1e-2)  # k for k^2


@pytest.mark.parametrize("beta", [1e-6, 30.0, 450.0, 3e3, 1e4, 5e4, 1e7])
def test_circle_growth_with_fifty_digits(beta):
    with mpmath.workdps(50):
        b = mpmath.mpf(beta)
        first = mpmath.besseli(0, b)
        exact = np.array([float(k**2 * mpmath.besseli(k, b) / b / first) for k in (*range(1, 41), 70, 100)])
    known, modes = exact > 1e-290, [*range(40), 69, 99]
    np.testing.assert_allclose(growth_rates(100, beta)[np.array(modes)][known], exact[known], rtol=1e-14)
    np.testing.assert_allclose(growth_rates(3, beta), exact[:3], rtol=1e-14, atol=1e-300)
    with jax.enable_x64(False):
        known = exact > 1e-30
        single = growth_rates(100, np.float32(beta))[np.array(modes)]
    np.testing.assert_allclose(single[known], exact[known], rtol=2e-6 + 1e-7 * (beta == 1e-6) * 100)


def test_circle_at_the_ends():
    np.testing.assert_array_equal(circle_tokens.circle_growth_rates(3, np.inf), 0)
    np.testing.assert_array_equal(circle_tokens.circle_growth_rates(3, np.inf, softmax=False), np.inf)
    for softmax in (True, False):  # k^2 I_k(beta)/beta = 1/2 + O(beta^2), beta/2 + .., O(beta^2)
        slope = jax.jacfwd(lambda beta, s=softmax: circle_tokens.circle_growth_rates(3, beta, s))(0.0)
        np.testing.assert_allclose(slope, [0, 0.5, 0], atol=1e-15)


@pytest.mark.slow
def test_dtype_follows_the_input():
    beta = np.array([1.0, 9, 20, 3, 0.7, 60])
    with jax.enable_x64(False):
        single = growth_rates(5, jnp.asarray(beta, jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, growth_rates(5, beta), rtol=1e-4)


def test_slope_at_zero_beta():
    assert np.isfinite(jax.jit(jax.grad(lambda beta: growth_rates(5, beta).sum()))(0.0))


@pytest.mark.slow
def test_integers_and_lists():
    np.testing.assert_array_equal(circle_tokens.num_metastable_clusters([4, 9, 16]), [3, 4, 6])


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (circle_tokens.circle_growth_rates, (0, 1.0), "num_modes must be at least 1"),
        (circle_tokens.num_metastable_clusters, (49.0, 8), "largest must be above"),
    ],
)
def test_bad_arguments_are_named(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


CALLS = [
    Call(circle_tokens.circle_growth_rates, {"num_modes": 5, "beta": 9.0}, draw=lambda rng: {"beta": 10 ** rng.uniform(-9, 9)}),
    Call(
        circle_tokens.circle_growth_rates,
        {"num_modes": 5, "beta": 9.0, "softmax": False},
        label="USA",
        draw=lambda rng: {"beta": 10 ** rng.uniform(-9, 1.9)},
    ),
    Call(
        circle_tokens.num_metastable_clusters,
        {"beta": np.array([9.0, 16.0])},
        draw=lambda rng: {"beta": 10 ** rng.uniform(-9, 3, 2)},
    ),
]
