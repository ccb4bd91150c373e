"""What experiments measure alike: exponents of power laws, exactly, and whatever the units."""

import jax.numpy as jnp
import numpy as np
import pytest

from closedform.experiments import _measure
from closedform.experiments.ode_transformer import _schemes
from closedform.models.transformers import integrators
from zoo.checks import rejected

SIZES = (10, 30, 90, 100)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("exponent", [-3.0, -0.5, 2.0])
def test_exponent_of_a_power_law(exponent):
    values = jnp.asarray(np.array([[7.0], [0.01]]) * np.array(SIZES, float) ** exponent)
    close(_measure.log_slope(SIZES, values), [exponent, exponent])
    rejected(close, _measure.log_slope(SIZES, values**2), [exponent, exponent])
    close(_measure.log_slope(SIZES[-2:], values[:, -2:]), [exponent, exponent])


def test_least_squares_where_it_is_no_power_law():
    values = np.array([3.0, 1.0, 0.5, 0.6])
    expected = np.polyfit(np.log(SIZES), np.log(values), 1)[0]
    close(_measure.log_slope(jnp.asarray(SIZES), jnp.asarray(values)), expected)


def test_results_of_several_settings_as_one():
    first, second = _schemes.Leading(jnp.zeros(2), jnp.zeros(3)), _schemes.Leading(jnp.ones(2), jnp.ones(3))
    both = _measure.stacked([first, second])
    np.testing.assert_array_equal(both.order, [[0, 0], [1, 1]])
    assert both.coefficient.shape == (2, 3)


def test_the_leading_error_is_measured_of_a_power_and_its_next_order():
    """Errors (3 h + 5 h^2, 2 h^2 - h^3) u: the coefficients without what the next order adds to them."""
    counts, time = jnp.asarray([4, 64, 128]), 2.0
    h, direction = time / np.asarray(counts), np.array([0.6, 0.8])
    gaps = jnp.asarray(np.stack([3 * h + 5 * h**2, 2 * h**2 - h**3])[..., None] * direction)
    found = _schemes.observed(("lie", "strang"), gaps, counts, time)
    close(found.coefficient, np.array([[3.0], [2.0]]) * direction)
    close(found.order, np.log2(gaps[:, 1, 0] / gaps[:, 2, 0]))


def test_powers_are_known_of_every_scheme():
    assert set(_schemes.POWERS) == set(integrators.SCHEMES)
