"""Interpolators against the flow of a diagonal network, the linear programmes of scipy, and 40 digits."""

import functools

import jax
import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import linprog

from closedform.theory.linear_networks import implicit_bias
from zoo.calls import Call
from zoo.checks import rejected

interpolator = jax.jit(implicit_bias.hyperentropy_interpolator)
min_l1, min_l2 = jax.jit(implicit_bias.min_l1), jax.jit(implicit_bias.min_l2)
ROW, SCALES = np.array([[1.0, 2.0, 0.5]]), np.array([0.01, 0.1, 1.0, 10.0])


@functools.cache
def problem():
    rng = np.random.default_rng(0)
    return rng.standard_normal((6, 15)), rng.standard_normal(6)


def flowed(x, y, scale):
    """u u - v v at rest: the flow in log(u/alpha) = -log(v/alpha), whose time is stretched as it slows down."""

    def velocity(_, g):
        beta = 2 * scale**2 * np.sinh(2 * g)
        return x.T @ (y - x @ beta) / (scale**2 + np.abs(y).max())

    found = solve_ivp(velocity, (0, 1e5), np.zeros(x.shape[1]), "LSODA", rtol=1e-11, atol=1e-13)
    return 2 * scale**2 * np.sinh(2 * found.y[:, -1])


def assert_is_the_end_of_the_flow(interpolator_fn, scales):
    x, y = problem()
    found = np.asarray(interpolator_fn(x, y, scales))
    for scale, beta in zip(scales, found, strict=True):
        np.testing.assert_allclose(beta, flowed(x, y, scale), rtol=0, atol=1e-8)


def test_the_flow_ends_at_the_dual_solution():
    """The acceptance of 1e-8, at four scales of the start."""
    assert_is_the_end_of_the_flow(interpolator, SCALES)
    few = SCALES[1:3]
    rejected(assert_is_the_end_of_the_flow, lambda x, y, a: interpolator(x, y, np.tile(a, 2) * 2**0.5)[:2], few)  # 4 alpha^2
    rejected(assert_is_the_end_of_the_flow, lambda x, y, a: np.tile(min_l2(x, y), (2, 1)), few)


def test_reference_numbers():
    """One row; the numbers in 40 digits, and the specification's but for the last digit at alpha = 10."""
    found = implicit_bias.hyperentropy_interpolator(ROW, [1.0], SCALES)
    table = [
        [0.00704323, 0.49627153, 0.00082741],
        [0.06645664, 0.46121510, 0.02222631],
        [0.18983624, 0.38137897, 0.09481164],
        [0.19047613, 0.38095244, 0.09523806],
    ]
    np.testing.assert_allclose(found, table, rtol=0, atol=3e-8)
    with mpmath.workdps(40):
        for scale, beta in zip(SCALES, np.asarray(found), strict=True):
            square, row = mpmath.mpf(scale) ** 2, [mpmath.mpf(v) for v in ROW[0]]
            nu = mpmath.findroot(
                lambda nu, s=square, r=row: sum(2 * s * v * mpmath.sinh(v * nu) for v in r) - 1,
                float(np.arcsinh(beta[0] / (2 * float(square)))),
            )
            np.testing.assert_allclose(beta, [float(2 * square * mpmath.sinh(v * nu)) for v in row], rtol=1e-12)


def test_it_minimises_the_hyperentropy():
    """Among weights with the same outputs, and no other scale's entropy."""
    x, y = problem()
    beta = np.asarray(interpolator(x, y, SCALES))[1]
    np.testing.assert_allclose(x @ beta, y, atol=1e-13)
    null = np.linalg.svd(x)[2][6:]
    entropy = jax.jit(implicit_bias.hyperentropy)

    def assert_least(scale):
        moved = beta + 1e-3 * np.concatenate([null, -null])
        assert np.all(np.asarray(entropy(moved, scale)) > entropy(np.tile(beta, (18, 1)), scale))

    assert_least(0.1)
    rejected(assert_least, 0.3)
    by_hand = np.sum(beta * np.arcsinh(beta / 0.02) - np.sqrt(4e-4 + beta**2))
    np.testing.assert_allclose(implicit_bias.hyperentropy(beta, 0.1), by_hand, rtol=1e-13)


def assert_least_l1(min_fn):
    x, y = problem()
    beta = np.asarray(min_fn(x, y))
    best = linprog(np.ones(30), A_eq=np.hstack([x, -x]), b_eq=y)
    np.testing.assert_allclose(x @ beta, y, atol=1e-10)
    np.testing.assert_allclose(np.abs(beta).sum(), best.fun, rtol=1e-10)
    np.testing.assert_allclose(beta, best.x[:15] - best.x[15:], atol=1e-9)


def test_limits():
    """The two norms by other algorithms; the l1 gap falls with the scale, and large starts reach the l2 solution."""
    x, y = problem()
    assert_least_l1(min_l1)
    rejected(assert_least_l1, min_l2)
    np.testing.assert_allclose(min_l2(x, y), np.linalg.pinv(x) @ y, atol=1e-13)
    path = np.asarray(interpolator(x, y, np.array([1e-4, 1e-2, 1.0, 1e4])))
    gaps = np.abs(path).sum(axis=1) - np.abs(np.asarray(min_l1(x, y))).sum()
    assert np.all(gaps[:-1] > 0)
    assert np.all(np.diff(gaps) > 0)
    np.testing.assert_allclose(path[-1], min_l2(x, y), atol=1e-8)


def assert_least_trace(trace_fn, A, y):
    best = linprog(np.ones(A.shape[1]), A_eq=A, b_eq=y)
    m = np.asarray(trace_fn(A, y))
    assert np.all(m >= 0)
    np.testing.assert_allclose(A @ m, y, atol=1e-9)
    np.testing.assert_allclose(m.sum(), best.fun, rtol=1e-9)


def test_commuting_measurements_have_least_trace():
    """By the flow of the eigenvalues of U U^T, m' = m A^T (y - A m) from a^2: the trace falls to that of the programme."""
    rng = np.random.default_rng(3)
    A = rng.standard_normal((3, 15))[:, :8]
    y = A @ np.maximum(rng.standard_normal(8), 0)
    trace_fn = jax.jit(implicit_bias.min_trace)
    assert_least_trace(trace_fn, A, y)
    rejected(assert_least_trace, lambda A, y: np.linalg.pinv(A) @ y, A, y)
    least, traces = float(np.sum(trace_fn(A, y))), []
    for scale in (1e-1, 1e-2, 1e-4):
        flow = solve_ivp(lambda _, g: A.T @ (y - A @ np.exp(g)), (0, 3e4), np.full(8, 2 * np.log(scale)), "LSODA", rtol=1e-10)
        np.testing.assert_allclose(A @ np.exp(flow.y[:, -1]), y, atol=1e-6)
        traces.append(np.exp(flow.y[:, -1]).sum())
    assert np.all(np.array(traces) > least - 1e-7)
    assert np.all(np.diff(traces) < 0)


def test_refusals():
    with pytest.raises(ValueError, match="x must have independent rows, got 2 of rank 1"):
        implicit_bias.min_l2([[1.0, 2.0], [2.0, 4.0]], [1.0, 2.0])
    with pytest.raises(ValueError, match="x must have independent rows, got 3 of rank 2"):
        implicit_bias.hyperentropy_interpolator(np.eye(3)[:, :2], np.ones(3), 0.1)
    with pytest.raises(ValueError, match="init_scale must be above 0"):
        implicit_bias.hyperentropy([1.0], 0.0)


X = np.array([[1.0, -0.4, 0.7], [0.3, 0.8, -0.5]])


def any_data(rng):
    return {"x": rng.standard_normal((2, 3)), "y": rng.standard_normal(2)}


CALLS = [
    Call(
        implicit_bias.hyperentropy,
        {"beta": np.array([0.5, -1.2]), "init_scale": 0.3},
        scaling={"beta": 1, "init_scale": 0.5},
        degree=1,
    ),
    Call(
        implicit_bias.hyperentropy_interpolator,
        {"x": X, "y": np.array([0.7, -0.4]), "init_scale": np.array([0.1, 1.0])},
        edges={"init_scale": [1e-3, 1e3]},
        scaling={"y": 1, "init_scale": 0.5},
        degree=1,
        draw=any_data,
        rounding=8.0,  # exponents of the size of ln(|beta|/alpha^2) are rounded
    ),
    Call(implicit_bias.min_l2, {"x": X, "y": np.array([0.7, -0.4])}, scaling={"x": -1, "y": 1}, degree=2, draw=any_data),
    # a linear programme jumps between vertices, and is solved to 1e-5 in float32
    Call(
        implicit_bias.min_l1,
        {"x": X, "y": np.array([0.7, -0.4])},
        scaling={"x": -1, "y": 1},
        degree=2,
        draw=any_data,
        differentiable=False,
        rounding=8.0,
    ),
    Call(
        implicit_bias.min_trace,
        {"eigenvalues": np.abs(X), "y": np.array([0.7, 0.6])},
        cases=[{"y": np.array([1.0, 0.3])}],
        scaling={"eigenvalues": -1, "y": 1},
        degree=2,
        draw=lambda rng: (lambda A: {"eigenvalues": A, "y": A @ rng.uniform(0.5, 1, 3)})(rng.standard_normal((2, 3))),
        differentiable=False,
        rounding=8.0,
    ),
]
