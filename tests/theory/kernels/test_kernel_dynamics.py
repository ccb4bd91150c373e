import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from closedform.theory.kernels import kernel_dynamics
from zoo.calls import Call

gradient_flow, gradient_descent = map(jax.jit, (kernel_dynamics.gradient_flow, kernel_dynamics.gradient_descent))


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


@pytest.mark.slow
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


# ---------------------------------------------------------------------------------------------------- ends of the ranges


def test_samples_that_repeat():
    """Issue 16.3. Kernel of ones: the mean of y is learned at rate n, and nothing else, whatever the time."""
    for dtype, rtol in ((jnp.float64, 1e-13), (jnp.float32, 1e-6)):
        for n in (5, 10):
            ones, y = jnp.ones((n, n), dtype), jnp.arange(n, dtype=dtype)
            for time in (1e-3, 1e5, 1e15, np.inf):
                for ridge in (0.0, 1e-18, 0.5):
                    expected = n / (n + ridge) * -np.expm1(-(n + ridge) * time) * (n - 1) / 2
                    result = gradient_flow(jnp.asarray(time, dtype), ones, ones[:1], y, jnp.asarray(ridge, dtype))
                    np.testing.assert_allclose(result.test[0], expected, rtol=rtol)
                    np.testing.assert_allclose(result.train, np.full(n, expected), rtol=2 * rtol)
            steps = gradient_descent(jnp.asarray(1e9, dtype), 1.0 / n, ones, ones[:1], y)
            np.testing.assert_allclose(steps.test[0], (n - 1) / 2, rtol=rtol)


def test_many_small_steps_keep_their_digits():
    """Issue 16.7: 1 - (1 - 1e-8)^(10^8), and an overshooting mode close to the edge: 1 - (1 - 2e-7)^(10^7)."""
    for dtype, rtol in ((jnp.float64, 1e-8), (jnp.float32, 1e-6)):
        rate, gram, y = jnp.asarray(1e-3, dtype), jnp.full((1, 1), 1e-5, dtype), jnp.ones(1, dtype)
        np.testing.assert_allclose(gradient_descent(10**8, rate, gram, gram, y).train, -np.expm1(-1.0), rtol=rtol)
    edge = gradient_descent(10**7, 1.0, np.full((1, 1), 2 - 1e-7), np.ones((1, 1)), np.ones(1)).test[0]
    np.testing.assert_allclose(edge, -np.expm1(10**7 * np.log1p(-1e-7)) / (2 - 1e-7), rtol=1e-8)
    odd = gradient_descent(10**7 + 1, 1.0, np.full((1, 1), 2 - 1e-7), np.ones((1, 1)), np.ones(1)).test[0]
    np.testing.assert_allclose(odd, (1 + np.exp((10**7 + 1) * np.log1p(-1e-7))) / (2 - 1e-7), rtol=1e-8)


def test_ends_of_the_ranges():
    gram = np.array([[2.0, 1.0], [1.0, 2.0]])
    y = np.array([1.0, -3.0])
    np.testing.assert_allclose(gradient_descent(np.inf, 0.1, gram, gram, y).train, y, rtol=1e-14)
    np.testing.assert_array_equal(gradient_descent(np.inf, 0.0, gram, gram, y).train, 0)
    np.testing.assert_array_equal(gradient_descent(0, 0.7, gram, gram, y).train, 0)
    np.testing.assert_allclose(gradient_descent([1, 2], 1 / 3, gram, gram, y).train, [gram @ y / 3, y - [8 / 9, -8 / 9]])
    for time in (0.0, 1.0, np.inf):
        np.testing.assert_array_equal(gradient_flow(time, gram, gram, y, np.inf).train, 0)
    assert np.isinf(gradient_descent(np.inf, 1.0, 3 * np.eye(1), np.eye(1), np.ones(1)).test).all()


def test_shares_are_those_of_single_modes():
    """0, 1 and 2 times the eigenvalue at which one step learns all; 3 steps; and a mode without a kernel."""
    modes = np.array([0.0, 0.5, 1.0, 1.9])
    np.testing.assert_allclose(kernel_dynamics.learned_share(3, 1.0, modes), 1 - (1 - modes) ** 3, rtol=1e-14)
    alone = [gradient_descent(3.0, 1.0, np.full((1, 1), mode), np.ones((1, 1)), np.ones(1)).train[0] for mode in modes]
    np.testing.assert_allclose(kernel_dynamics.learned_share(3, 1.0, modes), alone, rtol=1e-14)
    assert kernel_dynamics.learned_share(np.inf, 1.0, 0.0) == 0


def test_kernels_that_are_not_positive_are_refused():
    kernel = np.array([[1.0, 2.0], [2.0, 1.0]])
    for wrong, message in (
        (kernel, "gram must be positive semi-definite, got the eigenvalue -1"),
        (np.triu(kernel), "gram must be symm"),
    ):
        for function, first in ((kernel_dynamics.gradient_flow, (1.0,)), (kernel_dynamics.gradient_descent, (1, 0.1))):
            with pytest.raises(ValueError, match=message):
                function(*first, wrong, kernel, np.ones(2))


def test_slopes_in_a_kernel_with_repeated_eigenvalues():
    """Issue 16.12, by differences: in all arguments together."""
    rng = np.random.default_rng(0)
    change, cross, y = rng.standard_normal((3, 3)) * 0.1, rng.standard_normal((2, 3)), rng.standard_normal(3)
    change, turn = change + change.T, rng.standard_normal((2, 3))
    times = jnp.array([0.0, 1e-6, 0.5, 3.0, 50.0, jnp.inf])
    steps = jnp.array([0.0, 1.0, 1.0, 2.0, 7.0, 1000.0, 50.0, jnp.inf])
    rates = jnp.array([0.3, 1.0, 1 / 1.1, 1 / 1.1, 1.4, 0.01, 0.7, 0.5])

    @jax.jit
    def outputs(h, base):
        moved = base + h * change, cross + h * turn, y + h, 0.1 + 0.1 * h
        descent = jax.vmap(lambda s, rate: kernel_dynamics.gradient_descent(s, rate * (1 + 0.01 * h), *moved))
        return kernel_dynamics.gradient_flow(times, *moved), descent(steps, rates)

    tangents = jax.jit(lambda base: jax.jvp(lambda h: outputs(h, base), (0.0,), (1.0,))[1])
    for base in (np.eye(3), np.diag([1.0, 1.0, 2.5]), np.diag([1.0, 1 + 1e-9, 2.0]), np.diag([1e-3, 1, 2e-3])):
        here = [jax.tree.leaves(part) for part in (tangents(base), outputs(1e-5, base), outputs(-1e-5, base))]
        for slope, ahead, behind in zip(*here, strict=True):
            difference = (ahead - behind) / 2e-5
            np.testing.assert_allclose(slope, difference, rtol=1e-5, atol=1e-6 * np.abs(difference).max())


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

FEATURES = np.random.default_rng(3).standard_normal((6, 9)) / 3
KERNEL = FEATURES @ FEATURES.T
DATA = {"gram": KERNEL[:4, :4], "cross": KERNEL[4:, :4], "y": np.array([1.0, -0.5, 2.0, 0.3]), "ridge": 0.2}
CASES = [
    {"gram": np.eye(4)},
    {"gram": np.diag([1.0, 1.0, 2.0, 2.0]), "ridge": 0.0},
    {"gram": np.ones((4, 4)), "cross": np.ones((2, 4))},
    {"gram": np.ones((4, 4)), "cross": np.ones((2, 4)), "ridge": 0.0},
    {"gram": np.zeros((4, 4)), "cross": np.zeros((2, 4)), "ridge": 0.0},
]
KINKS = ("case 2", "case 3", "case 4")  # kernels of low rank: not all their neighbours are positive


def symmetric(x, rng):
    change = rng.standard_normal(x.shape)
    return (change + change.T) * np.max(np.abs(x)) * 0.1


def drawn(rng):
    features = rng.standard_normal((6, 8)) * 10.0 ** rng.uniform(-1, 1, (1, 8))
    kernel = features @ features.T
    return {"gram": kernel[:4, :4], "cross": kernel[4:, :4], "y": rng.standard_normal(4), "ridge": 10 ** rng.uniform(-2, 2)}


def drawn_flow(rng):
    return drawn(rng) | {"time": 10 ** rng.uniform(-6, 6, 2)}


def drawn_descent(rng):
    """Stable: the rate is at most 2/(largest eigenvalue + ridge)."""
    data = drawn(rng)
    edge = 2 / (np.linalg.eigvalsh(data["gram"])[-1] + data["ridge"])
    return data | {"steps": (10 ** rng.uniform(0, 5, 2)).round(), "learning_rate": edge * rng.uniform(0, 0.99)}


CALLS = [
    Call(
        kernel_dynamics.gradient_flow,
        {"time": np.array([0.7, 3.0]), **DATA},
        cases=CASES,
        edges={"gram": [], "cross": [], "y": []},
        directions={"gram": symmetric},
        kinks=KINKS,
        scaling={"time": -1, "gram": 1, "cross": 1, "ridge": 1},
        draw=drawn_flow,
    ),
    Call(
        kernel_dynamics.gradient_descent,
        {"steps": np.array([3.0, 8.0]), "learning_rate": 0.3, **DATA},
        cases=[*CASES, {"learning_rate": 1.2, "gram": np.diag([1.0, 1.0, 0.2, 0.3])}],
        edges={"gram": [], "cross": [], "y": [], "ridge": [0.0, 1e-9]},
        directions={"gram": symmetric},
        fixed=("steps",),  # between whole numbers the sign of an overshooting mode jumps
        kinks=KINKS,
        scaling={"learning_rate": -1, "gram": 1, "cross": 1, "ridge": 1},
        draw=drawn_descent,
    ),
    Call(
        kernel_dynamics.learned_share,
        {"steps": np.array([3.0, 8.0]), "learning_rate": 0.3, "eigenvalue": np.array([1.0, 4.0])},
        edges={"steps": [0.0, np.inf]},  # and whole numbers: between them an overshooting mode has no sign
        fixed=("steps",),  # as above
        draw=lambda rng: {
            "steps": (10 ** rng.uniform(0, 5, 2)).round(),
            "learning_rate": 0.1,
            "eigenvalue": rng.uniform(0, 19.9, 2),  # stable below 20
        },
    ),
]
