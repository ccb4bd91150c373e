"""Fixed points and errors against iterations in numpy, scipy's exponential and the facts of the six-dimensional example."""

import numpy as np
import scipy.linalg

from closedform.theory.equilibria import linear_maps
from zoo.calls import Call
from zoo.checks import rejected

ROW, COLUMN = np.indices((6, 6))
WEIGHTS, OFFSET = 0.4 * np.sin((ROW + 1) * (2 * COLUMN + 3)), np.cos(np.arange(6))
START = np.linspace(-1, 2, 6)


def assert_fixed(fixed_fn):
    expected = [0.79577608, 0.41252633, -0.6565435, -0.67726809, -0.33655248, 0.34897448]  # eight digits
    z = np.asarray(fixed_fn(WEIGHTS, OFFSET))
    np.testing.assert_allclose(z, expected, atol=5.1e-9)
    np.testing.assert_allclose(WEIGHTS @ z + OFFSET, z, rtol=1e-13)


def test_fixed_point():
    assert_fixed(linear_maps.fixed_point)
    rejected(assert_fixed, lambda W, c: linear_maps.fixed_point(W.T, c))
    rejected(assert_fixed, lambda W, c: linear_maps.fixed_point(-W, c))


def assert_iterates(error_fn):
    for damping in (1.0, 0.6):
        z, path = START, []
        for _ in range(8):
            path.append(z - np.linalg.solve(np.eye(6) - WEIGHTS, OFFSET))
            z = (1 - damping) * z + damping * (WEIGHTS @ z + OFFSET)
        steps = np.array([[0, 1], [5, 7]])
        np.testing.assert_allclose(error_fn(steps, WEIGHTS, path[0], damping), np.array(path)[steps], rtol=1e-11)


def test_errors_of_the_iteration():
    assert_iterates(linear_maps.picard_error)
    rejected(assert_iterates, lambda k, W, e, h: linear_maps.picard_error(k, W.T, e, h))
    rejected(assert_iterates, lambda k, W, e, h: linear_maps.picard_error(k, W, e, 1 - h))


def assert_flows(error_fn):
    for time in (0.0, 0.7, 5.0):
        expected = scipy.linalg.expm(time * (WEIGHTS - np.eye(6))) @ START
        np.testing.assert_allclose(error_fn(time, WEIGHTS, START), expected, rtol=1e-11)


def test_errors_of_the_flow():
    assert_flows(linear_maps.flow_error)
    rejected(assert_flows, lambda t, W, e: linear_maps.flow_error(t, W + np.eye(6), e))  # exp(W t), as of dz/dt = f(z)
    rejected(assert_flows, lambda t, W, e: linear_maps.flow_error(t, W.T, e))


def test_worst_start():
    """No start does worse than the norm says, and one does as badly; then a transient of a matrix that is not normal."""
    power = np.linalg.matrix_power(WEIGHTS, 4)
    growth = float(linear_maps.picard_growth(4, WEIGHTS))
    np.testing.assert_allclose(growth, np.linalg.norm(power @ np.linalg.svd(power)[2][0]), rtol=1e-12)
    flow = float(linear_maps.flow_growth(0.5, WEIGHTS))
    np.testing.assert_allclose(flow, np.linalg.svd(scipy.linalg.expm((WEIGHTS - np.eye(6)) / 2))[1][0], rtol=1e-12)
    np.testing.assert_allclose(linear_maps.picard_growth(1, WEIGHTS), 0.9419130244, atol=5.1e-11)
    jordan = np.array([[0.9, 1.0], [0.0, 0.9]])  # the power k is [[0.9^k, k 0.9^(k - 1)], [0, 0.9^k]]
    worst = np.asarray(linear_maps.picard_growth(np.arange(200), jordan))
    assert worst.max() > 3.5
    assert worst[-1] < 1e-6
    step = 1e-6  # at the start the flow moves away at the largest eigenvalue of the symmetric part
    slope = (float(linear_maps.flow_growth(step, jordan)) - 1) / step
    np.testing.assert_allclose(slope, 0.9 + 0.5 - 1, rtol=1e-5)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

SMALL = np.array([[0.5, -0.3], [0.8, 0.1]])


def drawn(rng):
    """Exponents up to some 30: beyond, exp leaves the range of float32."""
    return {"time": rng.uniform(0, 3, 2), "weights": rng.normal(size=(2, 2)) * 4}


CALLS = [
    Call(linear_maps.fixed_point, {"weights": SMALL, "offset": np.array([1.0, 2.0])}),
    Call(
        linear_maps.picard_error,
        {"steps": [0, 3], "weights": SMALL, "error": np.array([1.0, 2.0]), "damping": 0.7},
    ),
    Call(linear_maps.picard_growth, {"steps": [0, 3], "weights": SMALL, "damping": 0.7}),
    Call(
        linear_maps.flow_error,
        {"time": np.array([0.5, 2.0]), "weights": SMALL, "error": np.array([1.0, 2.0])},
        draw=lambda rng: {**drawn(rng), "error": rng.normal(size=2)},
    ),
    Call(
        linear_maps.flow_growth,
        {"time": np.array([0.5, 2.0]), "weights": SMALL},
        draw=drawn,
        kinks=["time[0]=0.0", "time=0.0"],  # the identity has one singular value, twice
    ),
]
