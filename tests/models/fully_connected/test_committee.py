"""The committee's output, overlaps and error against numpy: sums over units, and means over draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from closedform.models.fully_connected import committee
from zoo.checks import rejected

RNG = np.random.default_rng(0)
STUDENT = committee.Params(RNG.normal(size=(3, 5)) / 2, np.array([0.7, -1.2, 1.0]))
TEACHER = committee.Params(RNG.normal(size=(2, 5)) / 2, np.array([1.0, 0.5]))


def outputs(params, x, activation):
    u = x @ np.asarray(params.w).T
    return (erf(u / np.sqrt(2)) if activation == "erf" else np.maximum(u, 0)) @ np.asarray(params.v)


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_output_and_error(activation):
    """The error is half the mean square over 400,000 draws, within four standard errors."""
    config = committee.Config(5, 3, activation)
    x = np.random.default_rng(1).normal(size=(400_000, 5))
    found, error = jax.jit(
        lambda few: (
            jax.vmap(lambda one: committee.apply(STUDENT, one, config))(few),
            committee.error(STUDENT, TEACHER, config),
        )
    )(jnp.asarray(x[:7]))
    np.testing.assert_allclose(found, outputs(STUDENT, x[:7], activation), rtol=1e-12)
    squares = (outputs(STUDENT, x, activation) - outputs(TEACHER, x, activation)) ** 2 / 2

    def assert_mean(value):
        assert abs(squares.mean() - value) < 4 * squares.std() / len(x) ** 0.5

    assert_mean(error)
    rejected(assert_mean, 2 * error)  # without the 1/2
    other = committee.Config(5, 3, "relu" if activation == "erf" else "erf")
    rejected(assert_mean, committee.error(STUDENT, TEACHER, other))


def test_overlaps_and_start():
    found = committee.overlaps(STUDENT, TEACHER)
    J, B = np.asarray(STUDENT.w), np.asarray(TEACHER.w)
    for moment, expected in zip(found, (J @ J.T, J @ B.T, B @ B.T), strict=True):
        np.testing.assert_allclose(moment, expected, rtol=1e-12)
    params = committee.init(jax.random.key(0, impl="threefry2x32"), committee.Config(4000, 2, init_scale=0.5))
    np.testing.assert_allclose(np.sum(np.asarray(params.w) ** 2, axis=1), 0.25, rtol=5 / 2000**0.5)
    np.testing.assert_array_equal(params.v, 1)
