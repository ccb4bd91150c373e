"""The end of training beside the teacher against the equations for all overlaps, linearised by finite differences in numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import fsolve

from closedform.theory.feature_learning import online_sgd, perfect_student
from closedform.theory.feature_learning.online_sgd import Overlaps
from zoo.calls import Call
from zoo.checks import rejected

SIZES = {"learning_rate": 0.05, "noise_std": 0.3, "num_units": 2}
CALLS = [
    Call(perfect_student.noise_floor, SIZES, scaling={"noise_std": 1}, degree=2),
    # beside the critical learning rate, 2.307, the error grows without bound
    Call(perfect_student.stationary_error, SIZES, edges={"learning_rate": (0.0, 2.2)}, scaling={"noise_std": 1}, degree=2),
    Call(perfect_student.critical_learning_rate, {"num_units": 2}),
]
SETTINGS = [(2, 0.02, 3.334e-4), (2, 0.05, 8.438e-4), (1, 0.05, 4.185e-4)]  # K, eta and E at sigma = .3, of the specification


@functools.cache
def velocity_of(count):
    """dQ/dtau and dR/dtau of Q, R, eta and sigma, compiled once."""
    return jax.jit(lambda Q, R, rate, noise: online_sgd.velocity(Overlaps(Q, R, jnp.eye(count)), rate, noise)[:2])


def linearised(count):
    """The matrices of drift and of noise over eta, of R and the upper triangle of Q, at the perfect student."""
    upper, eye, velocity = np.triu_indices(count), np.eye(count), velocity_of(count)

    def change(state, rate):
        half = np.zeros((count, count))
        half[upper] = state[count**2 :]
        Q, R = velocity(half + half.T - np.diag(np.diagonal(half)), state[: count**2].reshape(count, count), rate, 0.0)
        return np.concatenate([np.ravel(R), np.asarray(Q)[upper]])

    at, h = np.concatenate([eye.ravel(), eye[upper]]), 1e-5
    steps = h * np.eye(len(at))
    drift, both = (np.stack([(change(at + s, r) - change(at - s, r)) / (2 * h) for s in steps], axis=1) for r in (0.0, 1.0))
    return drift, both - drift


@pytest.mark.parametrize("count", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_critical_learning_rates(count):
    """4.0558, 2.3068, 1.6207 to 1e-4, and where an eigenvalue of all overlaps vanishes first; a factor 2 fails."""
    drift, noise = linearised(count)
    first = 1 / np.linalg.eigvals(-np.linalg.solve(drift, noise)).real.max()

    def assert_critical(rate):
        np.testing.assert_allclose(rate, {1: 4.0558, 2: 2.3068, 3: 1.6207}[count], atol=1e-4)
        np.testing.assert_allclose(rate, first, rtol=5e-5)  # of the differences, at ends of arcsin

    found = float(perfect_student.critical_learning_rate(count))
    assert_critical(found)
    rejected(assert_critical, found / 2)


def test_floors_of_the_specification():
    """The end of the equations at three settings: within 3 % by the first order, and within .2 % by all orders in eta."""

    def assert_floor(floor_fn, rtol):
        for count, rate, end in SETTINGS:
            np.testing.assert_allclose(floor_fn(rate, 0.3, count), end, rtol=rtol)

    assert_floor(perfect_student.noise_floor, 0.03)
    assert_floor(perfect_student.stationary_error, 2e-3)
    rejected(assert_floor, perfect_student.noise_floor, 2e-3)
    rejected(assert_floor, lambda rate, noise, count: perfect_student.noise_floor(rate, noise, 1), 0.03)
    rejected(assert_floor, lambda rate, noise, count: rate * noise**2 * count / (2 * np.pi), 0.03)
    rejected(assert_floor, lambda rate, noise, count: perfect_student.stationary_error(rate, noise, 3 - count), 2e-3)


def test_the_equations_rest_at_the_stationary_error():
    """One unit with weak noise at half the critical learning rate: q and r by a root finder."""
    one = np.ones((1, 1))
    q, r = fsolve(lambda x: np.ravel(velocity_of(1)(x[0] * one, x[1] * one, 2.0, 0.01)), [1.0001, 1.0], xtol=1e-14)
    end = (np.arcsin(q / (1 + q)) + np.arcsin(1 / 2) - 2 * np.arcsin(r / np.sqrt(2 * (1 + q)))) / np.pi

    def assert_end(found):
        np.testing.assert_allclose(found, end, rtol=1e-3)

    assert_end(perfect_student.stationary_error(2.0, 0.01, 1))
    rejected(assert_end, perfect_student.noise_floor(2.0, 0.01, 1))


def test_from_the_critical_rate_on_nothing_rests():
    np.testing.assert_array_equal(perfect_student.stationary_error([0.0, 2.31, 9.0], 0.1, 2), [0, np.inf, np.inf])
    assert perfect_student.stationary_error(9.0, 0.0, 2) == 0  # without noise it stays perfect, though not stably
