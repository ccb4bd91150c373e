import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from closedform.theory import kernel_dynamics


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    features, test = rng.standard_normal((6, 9)) / 3, rng.standard_normal((4, 9)) / 3
    return features, test, rng.standard_normal((6, 2)), 0.3


def flow(time, features, test, y, ridge):
    return kernel_dynamics.gradient_flow(time, features @ features.T, test @ features.T, y, ridge)


def test_flow_is_the_linear_equation_of_the_weights(problem):
    """v' = Phi^T (y - Phi v) - ridge v, by the matrix exponential of an augmented system."""
    features, test, y, ridge = problem
    for time in (0.0, 0.4, 3.0):
        generator = np.zeros((10, 10))
        generator[:9, :9] = -(features.T @ features + ridge * np.eye(9))
        for target in range(2):
            generator[:9, 9] = features.T @ y[:, target]
            v = linalg.expm(time * generator)[:9, 9]
            found = flow(time, *problem)
            np.testing.assert_allclose(found.train[:, target], features @ v, atol=1e-12)
            np.testing.assert_allclose(found.test[:, target], test @ v, atol=1e-12)
    half = flow(0.2, *problem)
    assert np.abs(half.test - flow(0.4, *problem).test).max() > 0.01  # the time of the un-halved loss is seen


def test_descent_is_the_iteration(problem):
    features, test, y, ridge = problem
    for rate in (0.1, 1.2):  # the second one overshoots in some modes
        v, seen = np.zeros((9, 2)), []
        for _ in range(7):
            v = v + rate * (features.T @ (y - features @ v) - ridge * v)
            seen.append(test @ v)
        steps = jnp.arange(1, 8)
        found = kernel_dynamics.gradient_descent(steps, rate, features @ features.T, test @ features.T, y, ridge)
        np.testing.assert_allclose(found.test, seen, rtol=1e-10, atol=1e-12)
        assert found.train.shape == (7, 6, 2)


def test_limits(problem):
    features, test, y, ridge = problem
    np.testing.assert_array_equal(flow(0.0, *problem).test, 0)
    exact = test @ features.T @ np.linalg.solve(features @ features.T + ridge * np.eye(6), y)
    np.testing.assert_allclose(flow(jnp.inf, *problem).test, exact, rtol=1e-10)
    # small steps are the flow
    gram, cross = features @ features.T, test @ features.T
    for count in (1000, 2000):
        descent = kernel_dynamics.gradient_descent(count, 1.0 / count, gram, cross, y, ridge)
        error = np.abs(descent.test - flow(1.0, *problem).test).max()
        assert error < 0.6 / count
    # directions without features are never learned, and make no NaN
    flat = flow(jnp.inf, features * 0, test, y, 0.0)
    np.testing.assert_array_equal(flat.train, 0)


def test_vector_of_times_is_a_loop_and_one_target_has_no_axis(problem):
    features, test, y, ridge = problem
    times = jnp.array([[0.1, 1.0], [2.0, 5.0]])
    whole = flow(times, *problem)
    assert whole.test.shape == (2, 2, 4, 2)
    np.testing.assert_allclose(whole.test[1, 0], flow(2.0, *problem).test, rtol=1e-12)
    alone = flow(times, features, test, y[:, 0], ridge)
    np.testing.assert_allclose(alone.test, whole.test[..., 0], rtol=1e-10)
    slope = jax.jacfwd(lambda t: flow(t, *problem).test)(0.4)
    change = (flow(0.4 + 1e-5, *problem).test - flow(0.4 - 1e-5, *problem).test) / 2e-5
    np.testing.assert_allclose(slope, change, rtol=1e-6, atol=1e-9)
