"""Every flow against the flow of W and V themselves, integrated by scipy, and what is conserved along it."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from closedform.theory.linear_networks import bilinear_dynamics as dynamics
from closedform.theory.numerics.arguments import as_floats
from zoo.calls import Call
from zoo.checks import rejected

SPECTRUM = np.array([2, 1, 0.5, 0.25, -0.5, -1])
TIMES = np.array([0, 0.25, 0.5, 1, 2])

logistic = jax.jit(dynamics.logistic)
eigen_flow = jax.jit(dynamics.eigen_flow, static_argnames="trace")
riccati_flow = jax.jit(dynamics.riccati_flow, static_argnames="trace")


def weights_flow(times, target, w, v, p=None, trace=True, weight_decay=0.0, train_readout=False):
    """W, V, p at sorted times: minus the gradient of 2 |D|^2 + (tr D)^2 + (omega/2) of the squares of what is trained."""
    shape, p = w.shape, np.ones(w.shape[1]) if p is None else p

    def parts(y):
        return y[: w.size].reshape(shape), y[w.size : 2 * w.size].reshape(shape), y[2 * w.size :]

    def velocity(_, y):
        w, v, p = parts(y)
        D = ((w * p) @ v.T + (v * p) @ w.T) / 2 - target
        G = 4 * D + 2 * trace * np.trace(D) * np.eye(len(D))
        dp = -np.einsum("ik,ij,jk->k", w, G, v) - weight_decay * p if train_readout else 0 * p
        return np.concatenate([(-G @ v * p - weight_decay * w).ravel(), (-G @ w * p - weight_decay * v).ravel(), dp])

    start = np.concatenate([w.ravel(), v.ravel(), p])
    found = solve_ivp(velocity, (0, times[-1]), start, "DOP853", t_eval=times, rtol=1e-12, atol=1e-14)
    return [parts(y) for y in found.y.T]


def interaction(w, v, p):
    return ((w * p) @ v.T + (v * p) @ w.T) / 2


def assert_near(found, expected, atol=1e-9):
    """The largest difference, said as one number."""
    assert np.shape(found) == np.shape(expected)
    assert np.abs(np.asarray(found) - np.asarray(expected)).max() < atol


# --- one input -------------------------------------------------------------------------------------------------------------


def assert_logistic(logistic_fn):
    np.testing.assert_allclose(logistic_fn(0.3, 1.0, 0.01), 0.26990, atol=5e-6)
    times = np.array([0.0, 0.1, 0.7, 3.0])
    for target, initial in ((1.0, 0.01), (0.4, 2.0), (0.0, 0.3), (1e-9, 0.3), (-0.7, 0.5), (-0.7, -0.01), (0.5, -0.3)):
        a = np.sqrt([[abs(initial)]])
        flow = weights_flow(times, np.array([[target]]), a, np.sign(initial) * a)
        expected = [interaction(*state)[0, 0] for state in flow]
        assert_near(logistic_fn(times, np.full(4, target), np.full(4, initial)), expected)


def test_logistic():
    assert_logistic(logistic)
    for factor in (4, 6, 8):
        rejected(assert_logistic, lambda t, *rest, factor=factor: logistic(factor / 12 * t, *rest))


def test_logistic_at_long_times_and_its_derivatives():
    ends = logistic(np.full(5, 1e6), np.array([2.0, 0.0, -1.0, -1.0, 1.0]), np.array([0.1, 0.1, 0.1, -0.1, -0.1]))
    np.testing.assert_allclose(ends, [2, 0.1 / (1 + 1.2e6), 0, -1, 0], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(logistic(np.full(3, np.inf), np.array([2.0, 0, -1]), np.full(3, 0.1)), [2, 0, 0], atol=1e-14)
    assert logistic(1e6, 1.0, 0.0) == 0
    slope = jax.jit(jax.grad(dynamics.logistic, (0, 1, 2)))
    for point in ((0.3, 1.0, 0.1), (0.3, 0.0, 0.1), (0.3, -1.0, 0.1), (0.3, -1.0, -0.1), (0.0, 1.0, 0.1)):
        for i, found in enumerate(slope(*point)):
            step = 1e-6 * np.eye(3)[i]
            change = (logistic(*(point + step)) - logistic(*(point - step))) / 2e-6
            np.testing.assert_allclose(found, change, rtol=1e-6, atol=1e-8)


def logistic_50(time, target, initial):
    """q(t) in 50 digits, where the flow from q_0 exists; else the infinity that it comes from."""
    with mpmath.workdps(50):
        sign = -1 if initial < 0 else 1  # b for a
        t, q_star, q0 = mpmath.mpf(time), sign * mpmath.mpf(target), sign * mpmath.mpf(initial)
        if q0 == 0:
            return 0.0
        below = 1 + 12 * q0 * t if q_star == 0 else mpmath.exp(-12 * q_star * t) * (1 - q0 / q_star) + q0 / q_star
        below = below if q_star == 0 else below * mpmath.exp(12 * q_star * t)  # of q_0 exp(12 q* t)/q(t)
        return sign * float(q0 * mpmath.exp(12 * q_star * t) / below if below > 0 else mpmath.inf)


def test_logistic_at_any_time():
    """Times before 0 back to where the flow came from; equal, opposite and vanishing targets; the slopes too."""
    np.testing.assert_allclose(logistic(-0.3, 1.0, 0.5), 0.0265969936, rtol=1e-8)  # the issue's
    values = [(t, q, s) for t in (-3.0, -0.3, -1e-5, 0.0, 1e-5, 0.7, 40.0)
              for q in (1.0, 0.02, 1e-12, 0.0, -0.4) for s in (0.5, 1.0, 1 - 1e-9, 0.02, 1e-8, -0.3, 0.0)]  # fmt: skip
    found = logistic(*np.array(values).T)
    np.testing.assert_allclose(found, [logistic_50(*one) for one in values], rtol=2e-12)
    assert logistic(-1e6, 1.0, 1.0) == 1  # from rest
    assert np.isposinf(logistic(-0.2, 0.0, 0.5))  # 1 + 12 q_0 t < 0
    assert np.isneginf(logistic(-0.2, 0.0, -0.5))
    slope = jax.jit(jax.grad(dynamics.logistic, (0, 1, 2)))
    for point in ((-0.3, 1.0, 0.5), (-0.3, 0.0, 0.1), (-0.1, -1.0, 0.1), (0.0, 0.0, 0.1)):
        for i, one in enumerate(slope(*point)):
            step = 1e-6 * np.eye(3)[i]
            change = (logistic_50(*(point + step)) - logistic_50(*(point - step))) / 2e-6
            np.testing.assert_allclose(one, change, rtol=1e-6, atol=1e-9)
    for target in (1.0, -0.5):  # the slope to the right of 0, where a grows; to the left b does
        np.testing.assert_allclose(jax.grad(dynamics.logistic, 2)(0.3, target, 0.0), np.exp(3.6 * target), rtol=1e-14)


def test_logistic_at_infinite_times():
    above = {(1, 0.1): (1, 0), (1, 2): (1, np.inf), (1, 1): (1, 1), (1, 0): (0, 0), (0, 0.1): (0, np.inf), (0, 0): (0, 0)}
    below = {(-1, 0.1): (0, np.inf), (-1, -0.1): (-1, 0), (-1, -2): (-1, -np.inf), (-1, 0): (0, 0)}
    for (target, initial), (last, first) in (above | below).items():
        assert logistic(np.inf, target, initial) == last
        assert logistic(-np.inf, target, initial) == first
        assert np.isfinite(jax.grad(dynamics.logistic, (0, 1, 2))(np.inf, float(target), float(initial))).all()
    with jax.enable_x64(False):
        assert dynamics.logistic([1e30, np.inf], 2, 1e-30).tolist() == [2, 2]


# --- along the eigenvectors ------------------------------------------------------------------------------------------------


def test_eigen_flow_numbers():
    def assert_numbers(flow):
        q = np.asarray(flow.q)
        error = q - SPECTRUM
        loss = 2 * np.sum(error**2, axis=1) + np.sum(error, axis=1) ** 2
        np.testing.assert_allclose(loss, [18.1875, 4.79975, 2.71249, 0.345741, 0.0034934], rtol=1e-5)
        np.testing.assert_allclose(q[2], [1.81145, 0.661011, 0.198864, 0.0882223, -0.0123443, -0.117396], rtol=1e-5)

    start = np.full(6, 0.1)
    assert_numbers(eigen_flow(TIMES, SPECTRUM, start, start))
    rejected(assert_numbers, eigen_flow(TIMES, SPECTRUM, start, start, trace=False))
    rejected(assert_numbers, eigen_flow(2 * TIMES, SPECTRUM, start, start))  # tied W = V: twice the rate


@pytest.mark.parametrize("trace", [True, False])
def test_eigen_flow_is_the_flow_of_the_weights(trace):
    """In a basis of its own, starts of both signs and zeros, targets of 0."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    target = np.array([1.5, 0.7, 0.0, 0.0, -0.2, -1.0])
    alpha, beta = np.array([0.3, -0.2, 0.1, 0.2, 0.0, 0.2]), np.array([0.0, 0.1, 0.2, 0.0, -0.3, 0.1])
    w, v = basis * (alpha + beta), basis * (alpha - beta)
    times = np.array([0, 0.1, 0.6, 2, 9])
    states = weights_flow(times, basis @ np.diag(target) @ basis.T, w, v, trace=trace)
    expected = [[np.diag(basis.T @ (w + sign * v)) / 2 for w, v, _ in states] for sign in (1, -1)]

    def assert_flow(modes):
        assert_near(modes, expected)

    found = eigen_flow(times, target, alpha, beta, trace=trace)
    assert_flow(found)
    rejected(assert_flow, eigen_flow(times, target, alpha, beta, trace=not trace))
    rejected(assert_flow, eigen_flow(times, target, beta, alpha, trace=trace))
    product = found.alpha * found.beta
    np.testing.assert_allclose(product, np.broadcast_to(alpha * beta, product.shape), rtol=1e-13)


@pytest.mark.slow
def test_eigen_flow_stays_finite_for_ever():
    zeros = np.array([0, 0.1, 0, 0, 0, 0.2])
    start = np.full(6, 0.1)
    for trace in (True, False):
        for alpha, beta in ((start, zeros), (zeros, start), (start, start)):
            late = eigen_flow(np.array([0, 1, 3, 30, 3e3]), SPECTRUM, alpha, beta, trace=trace)
            assert all(np.isfinite(leaf).all() for leaf in late)
    np.testing.assert_allclose(late.q[-1], SPECTRUM, rtol=1e-12)  # both signs can grow, without the trace term


@pytest.mark.parametrize("trace", [pytest.param(True, marks=pytest.mark.slow), False])
def test_eigen_flow_after_infinite_time(trace):
    """The least loss among signs that the start allows, which late times approach; a target of 0 has no infinity times 0."""
    target = np.array([1.5, 0.7, 0.0, -0.2, -1.0, 0.4])
    alpha, beta = np.array([0.3, -0.2, 0.1, 0.2, 0.1, 0.0]), np.array([0.0, 0.1, -0.2, 0.3, 0.0, 0.2])
    found = eigen_flow(np.array([0, 80, np.inf]), target, alpha, beta, trace=trace)
    for late, last in zip((found.alpha[1], found.beta[1]), (found.alpha[2], found.beta[2]), strict=True):
        np.testing.assert_allclose(last, late, atol=1e-9)  # exp(-8 s t), and s is 0.04 at the target of 0
    np.testing.assert_allclose(found.alpha[2] * found.beta[2], alpha * beta, atol=1e-15)
    if not trace:
        np.testing.assert_allclose(found.q[2], [1.5, 0.7, 0, -0.2, 0, 0], atol=1e-15)
    g = 4 * (found.q[2] - target) + 2 * trace * np.sum(found.q[2] - target)
    at_rest = (found.alpha[2] == 0) & (found.beta[2] == 0)
    np.testing.assert_allclose(g[~at_rest], 0, atol=1e-14)
    assert np.all(np.where(alpha != 0, g, -g)[at_rest] >= 0)
    for start, sign in ((np.array([0.1, 0.0]), 1), (np.array([0.0, 0.1]), -1)):
        at_zero = dynamics.eigen_flow([np.inf, 5], [0, 0], start, start[::-1], trace)  # the issue's: nan
        np.testing.assert_array_equal(at_zero.q[0], [0, 0])
        if not trace:  # dq/dt = -8 q |q| by mode
            np.testing.assert_allclose(at_zero.q[1, 0], sign * 0.01 / (1 + 8 * 0.01 * 5), rtol=1e-14)


@pytest.mark.parametrize("trace", [pytest.param(True, marks=pytest.mark.slow), False])
def test_eigen_flow_from_tiny_starts(trace):
    """exp of the logarithm of the growth is bounded below what a start of 1e-12 needs in float32."""
    with jax.enable_x64(False):
        found = dynamics.eigen_flow([20.0, np.inf], [1.0], [1e-12], [0.0], trace)
    np.testing.assert_allclose(found.q, np.ones((2, 1)), rtol=1e-5)
    found = dynamics.eigen_flow([200.0, np.inf], [1.0], [1e-100], [0.0], trace)
    # the solver's 1e-11 is relative to the logarithm of the growth, 230
    np.testing.assert_allclose(found.q, np.ones((2, 1)), rtol=2.3e-9)


@pytest.mark.slow
def test_no_times_and_lists():
    assert dynamics.logistic([], 1, 0.1).shape == (0,)
    for trace in (True, False):
        assert dynamics.eigen_flow([], [1, 2], [1, 1], [1, 1], trace).alpha.shape == (0, 2)
        assert dynamics.riccati_flow([], [[1, 0], [0, 2]], [[1], [1]], trace).shape == (0, 2, 2)
    assert dynamics.eigen_flow([0, 1], [1, 2], [1, 0], [0, 1], trace=False).alpha.dtype == jnp.float64
    kept, floats = dynamics.conserved([[1, 2]], [[0, 1]]), dynamics.conserved(np.array([[1.0, 2.0]]), np.array([[0.0, 1.0]]))
    for one, other in zip(kept, floats, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    np.testing.assert_array_equal(dynamics.conserved([[1, 2]], [[0, 1]], [True, False]).equal, np.eye(2, dtype=bool))


# --- the whole matrix ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def matrices():
    """A target of both signs and with a null vector, and a start of fewer units that commutes with nothing."""
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    return basis @ np.diag([1.4, 0.6, 0.0, -0.4, -1.1]) @ basis.T, 0.4 * rng.standard_normal((5, 3)), basis


@pytest.mark.parametrize("trace", [True, False])
def test_riccati_flow_is_the_flow_of_the_weights(matrices, trace):
    target, few, basis = matrices
    rng = np.random.default_rng(2)
    indefinite = rng.standard_normal((5, 5))
    cases = [
        (target, few),
        ((indefinite + indefinite.T) / 2, few),
        (np.zeros((5, 5)), few),
        (0.8 * np.eye(5), few),
        (target, few @ np.diag([1, 1e-4, 0])),  # rank two
        (target, np.outer(basis[:, 1] + basis[:, 2], [0.3, 0.1, 0.2])),  # without the first eigenvector
        (target, 0.3 * basis[:, [4, 2, 0]]),  # commutes
    ]
    for number, (matrix, a0) in enumerate(cases):
        # the last two lack the greatest eigenvector: a saddle, which rounding leaves in time
        times = np.array([0, 0.2, 1, 4, 15] if number < 5 else [0, 0.1, 0.2, 0.5, 1])
        expected = [interaction(*state) for state in weights_flow(times, matrix, a0, a0, trace=trace)]
        assert_near(riccati_flow(times, matrix, a0, trace=trace), expected, 1e-8)
        if number == 0:
            rejected(assert_near, riccati_flow(times, matrix, a0, trace=not trace), expected, 1e-3)
            rejected(assert_near, riccati_flow(2 * times, matrix, a0, trace=trace), expected, 1e-3)
            rejected(assert_near, riccati_flow(times, matrix, a0[::-1], trace=trace), expected, 1e-3)


@pytest.mark.slow
def test_riccati_flow_with_more_units_than_inputs(matrices):
    """Seven units, five inputs; and its end: the best positive Q, in the eigenvectors of the target."""
    target, _, basis = matrices
    a0 = 0.2 * np.random.default_rng(3).standard_normal((5, 7))
    times = np.array([0, 0.2, 1, 4, 1000])
    found = np.asarray(riccati_flow(times, target, a0))
    expected = [interaction(*state) for state in weights_flow(times[:4], target, a0, a0)]
    assert_near(found[:4], expected, 1e-8)
    # the best q >= 0 is q_i = max(q*_i - T/2, 0) with T = sum (q_i - q*_i), whose half is searched for
    values = np.diag(basis.T @ target @ basis)
    halves = np.linspace(0, 1, 1_000_001)
    excess = np.maximum(values - halves[:, None], 0).sum(axis=1) - values.sum() - 2 * halves
    best = np.maximum(values - halves[np.argmin(np.abs(excess))], 0)
    assert_near(found[-1], basis @ np.diag(best) @ basis.T, 2e-6)


@pytest.mark.slow
def test_riccati_flow_at_long_times(matrices):
    """Nothing overflows, ranks stay: few units end on the greatest eigenvalues."""
    target, few, basis = matrices
    times = np.array([0, 10, 1e3, 1e5, 1e8])
    found = np.asarray(riccati_flow(times, target, few, trace=False))
    assert_near(found[2:], np.stack([basis[:, :2] @ np.diag([1.4, 0.6]) @ basis[:, :2].T] * 3), 2e-4)  # null: 1/(8 t)
    assert_near(found[3:], np.stack([basis[:, :2] @ np.diag([1.4, 0.6]) @ basis[:, :2].T] * 2), 2e-6)
    ranks = [np.sum(np.linalg.eigvalsh(np.asarray(q)) > 1e-12) for q in found]
    assert ranks[:3] == [3, 3, 3]
    # four positive eigenvalues, three units
    shifted = target + 1.0 * np.eye(5)
    late = np.asarray(riccati_flow(times, shifted, few, trace=False))[-1]
    assert_near(late, basis[:, :3] @ np.diag([2.4, 1.6, 1.0]) @ basis[:, :3].T, 1e-10)
    assert np.isfinite(riccati_flow(np.array([0, 1, 10, 100, 1e3]), target, few)).all()


@pytest.mark.slow
def test_flows_agree_where_both_hold(matrices):
    """A start along three of the eigenvectors: the matrix and its modes, with a sixth one that stays 0."""
    target, _, basis = matrices
    values, alpha = np.append(np.diag(basis.T @ target @ basis), 0), np.array([0.1, 0.3, 0, 0, 0.4, 0])
    for trace in (True, False):
        modes = eigen_flow(TIMES / 2, values, alpha, np.zeros(6), trace=trace)
        flow = riccati_flow(TIMES / 2, target, (basis * alpha[:5])[:, [0, 1, 4]], trace=trace)
        assert_near(np.einsum("di,tde,ei->ti", basis, flow, basis), modes.q[:, :5], 1e-10)


ALIKE = {
    "all eigenvalues one": (np.eye(3), np.array([[0.3, 0.1], [0.2, -0.2], [0.1, 0.3]])),
    "two one, of a basis": (
        np.diag([1.0, 1.0, -0.5])[[2, 0, 1]][:, [2, 0, 1]],
        np.array([[0.3, 0.1], [0.2, -0.2], [0.1, 0.3]]),
    ),
    "target 0": (np.zeros((3, 3)), np.array([[0.3], [0.2], [0.1]])),
    "no rank in the first row": (np.diag([1.0, 0.4, -0.3]), np.array([[0.0, 0.0], [0.3, 0.1], [0.2, -0.1]])),
    "no start": (np.diag([1.0, 0.4, -0.3]), np.zeros((3, 2))),
    "rank 1 and one eigenvalue": (np.diag([0.7, 0.7, 0.2]), np.outer([0.3, 0.1, 0.2], [1.0, 2.0])),
}


@pytest.mark.slow
@pytest.mark.parametrize("trace", [True, False])
def test_riccati_flow_has_derivatives_everywhere(trace):
    """In both modes and in every direction: also where eigenvectors have none, and rank is missing."""
    rng = np.random.default_rng(6)
    weights, by_target, by_start = rng.standard_normal((3, 3)), rng.standard_normal((3, 3)), rng.standard_normal((3, 2))
    by_target = by_target + by_target.T

    @jax.jit
    def total(target, a0, x, y):
        flow = dynamics.riccati_flow(0.6, target + x * by_target, a0 + y * by_start[:, : a0.shape[1]], trace)
        return jnp.sum(weights * flow)

    forward = jax.jit(jax.jacfwd(total, (2, 3)))
    reverse = jax.jit(jax.grad(total, (2, 3)))
    for target, a0 in ALIKE.values():
        a0 = np.concatenate([a0, np.zeros((3, 2))], axis=1)[:, :2]
        h = 1e-5
        changes = [
            (total(target, a0, h, 0.0) - total(target, a0, -h, 0.0)) / (2 * h),
            (total(target, a0, 0.0, h) - total(target, a0, 0.0, -h)) / (2 * h),
        ]
        np.testing.assert_allclose(forward(target, a0, 0.0, 0.0), changes, rtol=1e-6, atol=1e-8)
        if not trace:  # through the solver: test_calls
            np.testing.assert_allclose(reverse(target, a0, 0.0, 0.0), changes, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_riccati_flow_at_any_scale(matrices):
    """Q(t; s Q*, sqrt(s) A_0) = s Q(s t): no floor in the solver's errors, in both precisions; and times without end."""
    target, few, _ = matrices
    for trace in (True, False):
        typical = np.asarray(riccati_flow(TIMES, target, few, trace=trace))
        for scale in (2.0**-40, 2.0**40, 1e-12, 1e12):
            found = riccati_flow(TIMES / scale, scale * target, np.sqrt(scale) * few, trace=trace)
            np.testing.assert_allclose(found / scale, typical, atol=1e-9)
    ends = np.asarray(riccati_flow(np.array([1e3, 1e30, 1e300, 0.0, 1.0]), target + np.eye(5), few, trace=False))
    np.testing.assert_allclose(ends[1:3], ends[[0, 0]], atol=1e-12)
    with jax.enable_x64(False):
        single = dynamics.riccati_flow([1e3, 1e30], np.float32(target + np.eye(5)), np.float32(few), trace=False)
    np.testing.assert_allclose(single, ends[:2], atol=1e-5)


# --- conservation laws -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def start():
    rng = np.random.default_rng(4)
    target = rng.standard_normal((5, 5))
    return (target + target.T) / 2, *(0.5 * rng.standard_normal((2, 5, 4)))


def drifts(states, kept_factor=1.0):
    """Greatest change of every law over a run, at the pairs where it should hold and at the others."""
    first, last = (dynamics.conserved(*state) for state in (states[0], states[-1]))
    change = {name: np.abs(getattr(last, name) - kept_factor * getattr(first, name)) for name in dynamics.Conserved._fields[:5]}
    masks = dict(matrix=first.equal, sums=first.opposite, differences=first.opposite)
    for name, mask in masks.items():
        inside, outside = change[name][np.asarray(mask)], change[name][~np.asarray(mask)]
        change[name], change[f"other {name}"] = inside, outside
    return {name: values.max() if values.size else 0.0 for name, values in change.items()}


def test_conserved_for_equal_readouts(start):
    target, w, v = start
    states = weights_flow(np.array([0, 1.0]), target, w, v)
    assert np.abs(states[1][0] - w).max() > 0.3
    found = drifts(states)
    assert found["unit"] < 1e-10
    assert found["matrix"] < 1e-10
    assert found["other sums"] > 0.1
    balance = [w.T @ w - v.T @ v for w, v, _ in states]
    assert_near(*balance, 1e-10)
    rejected(assert_near, *(w.T @ w + v.T @ v for w, v, _ in states), 1e-3)


def test_conserved_for_mixed_signs(start):
    target, w, v = start
    p = np.array([1.0, -1.0, 1.0, -1.0])
    states = weights_flow(np.array([0, 1.0]), target, w, v, p)
    found = drifts(states)
    assert max(found[name] for name in ("unit", "matrix", "sums", "differences")) < 1e-10
    assert min(found[f"other {name}"] for name in ("matrix", "sums", "differences")) > 0.1
    balance = [w.T @ w - v.T @ v for w, v, _ in states]
    rejected(assert_near, *balance, 0.1)
    # other sizes: the pairs of equal and opposite readout alone
    found = drifts(weights_flow(np.array([0, 1.0]), target, w, v, np.array([0.5, -0.5, 2.0, 2.0])))
    assert max(found[name] for name in ("unit", "matrix", "sums", "differences")) < 1e-10
    assert found["other matrix"] > 0.1


def test_conserved_with_a_trained_readout_and_under_weight_decay(start):
    target, w, v = start
    p = np.array([1.0, -1.0, 0.5, 2.0])
    states = weights_flow(np.array([0, 1.0]), target, w, v, p, train_readout=True)
    found = drifts(states)
    assert found["unit"] < 1e-10
    assert found["readout"] < 1e-10
    states = weights_flow(np.array([0, 1.0]), target, w, v, p, train_readout=True, weight_decay=0.3)
    found = drifts(states, np.exp(-2 * 0.3))
    assert found["unit"] < 1e-10
    assert found["readout"] < 1e-10
    assert drifts(states, np.exp(-0.3))["unit"] > 0.01
    found = drifts(weights_flow(np.array([0, 1.0]), target, w, v, weight_decay=0.3), np.exp(-2 * 0.3))
    assert found["matrix"] < 1e-10


def test_conserved_fields(start):
    _, w, v = start
    kept = dynamics.conserved(w, v, np.array([[1.0, 1, -1, 2], [0.0, 0, 0, 1]]))
    a, b = (w + v) / 2, (w - v) / 2
    np.testing.assert_allclose(kept.matrix, 4 * a.T @ b, rtol=1e-12)
    np.testing.assert_allclose(kept.sums, 4 * a.T @ a, rtol=1e-12)
    np.testing.assert_allclose(kept.differences, 4 * b.T @ b, rtol=1e-12)
    np.testing.assert_allclose(kept.unit, np.diag(kept.matrix), rtol=1e-12)
    np.testing.assert_allclose(kept.readout, np.sum(w**2, axis=0) - [1, 1, 1, 5], rtol=1e-12)
    assert np.argwhere(np.asarray(kept.equal)).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 2], [3, 3]]
    assert np.argwhere(np.asarray(kept.opposite)).tolist() == [[0, 2], [1, 2], [2, 0], [2, 1]]
    ones = jax.jit(dynamics.conserved)(w, v)
    assert np.all(ones.equal)
    assert not np.any(ones.opposite)


def test_steps_break_the_laws_in_proportion_to_their_size(start):
    target, w, v = start
    drift = []
    for rate in (0.01, 0.005, 0.0025):
        now = w, v
        for _ in range(round(2 / rate)):
            D = interaction(*now, np.ones(4)) - target
            G = 4 * D + 2 * np.trace(D) * np.eye(5)
            now = now[0] - rate * G @ now[1], now[1] - rate * G @ now[0]
        drift.append(np.abs(dynamics.conserved(*now).unit - dynamics.conserved(w, v).unit).max())
    ratios = np.array(drift[1:]) / drift[:-1]
    assert np.all((ratios > 0.4) & (ratios < 0.55)), drift


# --- as programs -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_times_of_any_shape_and_order(matrices):
    target, few, _ = matrices
    start, order = np.full(6, 0.1), np.array([3, 0, 4, 2, 1])
    for trace in (True, False):
        modes, flow = (
            lambda times, trace=trace: eigen_flow(times, SPECTRUM, start, start, trace=trace).alpha,
            lambda times, trace=trace: riccati_flow(times, target, few, trace=trace),
        )
        for function in (modes, flow):
            assert_near(function(TIMES[order]), np.asarray(function(TIMES))[order], 1e-9)
        twice = flow(TIMES[[0, 2, 2, 4, 4]])
        assert_near(twice, np.asarray(flow(TIMES))[[0, 2, 2, 4, 4]], 1e-9)
        np.testing.assert_allclose(twice[0], few @ few.T, atol=1e-14)
    assert_near(flow(TIMES[None, order[:4]].reshape(2, 2))[1, 0], flow(TIMES)[4], 1e-12)
    assert_near(modes(TIMES[None, order[:4]].reshape(2, 2))[1, 0], modes(TIMES)[4], 1e-12)
    assert flow(0.3).shape == (5, 5)
    ode = jax.eval_shape(lambda t: dynamics.riccati_flow(t, target, few), jnp.zeros((2, 3)))
    assert ode.shape == (2, 3, 5, 5)


@pytest.mark.slow
def test_vmap_and_derivatives(matrices):
    """Along a batch of times and starts; by the time the derivative is the flow, at 0 too."""
    target, few, _ = matrices
    times, starts = np.array([0.0, 0.6]), np.stack([few, 0.5 * few])
    step = 1e-5 * np.eye(5)[:, [2, 0, 1]]
    for trace in (True, False):

        def total(t, share, a0, trace=trace):
            return jnp.sum(dynamics.riccati_flow(t, target, a0 + share * step, trace))

        def at(time, a0, trace=trace):
            return np.asarray(riccati_flow(np.full(5, time), target, a0, trace=trace)[0])

        # forward through the solver, backward through the closed form; backward through the solver is the next test
        derivative = (jax.jacfwd if trace else jax.jacrev)(total, (0, 1))
        by_time, by_start = jax.jit(jax.vmap(derivative))(times, np.zeros(2), starts)
        for i, (time, a0) in enumerate(zip(times, starts, strict=True)):
            Q = at(time, a0)
            G = 4 * (Q - target) + 2 * trace * np.trace(Q - target) * np.eye(5)
            np.testing.assert_allclose(by_time[i], np.sum(-G @ Q - Q @ G), rtol=1e-8)
            change = np.sum(at(time, a0 + step) - at(time, a0 - step)) / 2
            np.testing.assert_allclose(by_start[i], change, rtol=1e-6)


@pytest.mark.slow
def test_gradients_of_modes():
    def total(target, alpha, beta, trace):
        return jnp.sum(dynamics.eigen_flow(0.4, target, alpha, beta, trace).q)

    slope = jax.jit(jax.grad(total, (0, 1, 2)), static_argnums=3)
    arguments = np.array([[1.0, 0, -0.5, 0, 0.2, 0.7], [0.2, 0.3, 0.1, 0, 0.1, 0], [0.1, 0, 0, 0.2, 0.3, 0.1]])
    for trace in (True, False):
        found = slope(*arguments, trace)
        for i in range(3):
            for k in range(6):
                step = np.zeros((3, 6))
                step[i, k] = 1e-5
                ends = [np.sum(eigen_flow(np.full(5, 0.4), *x, trace=trace).q[0]) for x in (arguments + step, arguments - step)]
                np.testing.assert_allclose(found[i][k], (ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_dtype_follows_the_input(matrices):
    target, few, _ = matrices
    start = np.full(6, 0.1)
    with jax.enable_x64(False):
        inputs = [jnp.asarray(x, jnp.float32) for x in (TIMES, SPECTRUM, start, target, few)]
        modes = eigen_flow(*inputs[:3], inputs[2], trace=False)
        matrix = riccati_flow(inputs[0], *inputs[3:])
        kept = dynamics.conserved(inputs[4], inputs[4])
        assert logistic(jnp.float32(0.3), 1.0, 0.01).dtype == jnp.float32
    assert {leaf.dtype for leaf in (*modes, matrix, *kept[:5])} == {jnp.dtype("float32")}
    assert_near(modes.q, eigen_flow(TIMES, SPECTRUM, start, start, trace=False).q, 1e-4)
    assert_near(matrix, riccati_flow(TIMES, target, few), 1e-4)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (
            dynamics.eigen_flow,
            (1.0, np.ones(2), np.ones(3), np.ones(2)),
            r"alpha must have the shape \(mode,\) with mode = 2 as in target, got \(3,\)",
        ),
        (
            dynamics.riccati_flow,
            (1.0, np.eye(3), np.ones((2, 2))),
            r"a0 must have the shape \(dim, width\) with dim = 3 as in target",
        ),
        (
            dynamics.conserved,
            (np.ones((2, 3)), np.ones((2, 2))),
            r"v must have the shape \(dim, width\) with width = 3 as in w",
        ),
        (
            dynamics.conserved,
            (np.ones((2, 3)), np.ones((2, 3)), np.ones(2)),
            r"p must have the shape \(\*output, width\) with width = 3 as in w",
        ),
    ],
)
def test_bad_arguments_are_named(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def any_logistic(rng):
    """Both signs of everything, over three decades each."""
    return {name: rng.choice([-1, 1]) * 10 ** rng.uniform(-2, 1) for name in ("time", "target", "initial")}


def any_modes(rng):
    return {
        "time": 10 ** rng.uniform(-2, 1, 2),
        "target": rng.choice([-1, 0, 1], 4) * 10 ** rng.uniform(-1.5, 0.5, 4),
        "alpha": rng.choice([-1, 0, 1], 4) * 10 ** rng.uniform(-2, 0, 4),
        "beta": rng.choice([-1, 0, 1], 4) * 10 ** rng.uniform(-2, 0, 4),
    }


def any_matrix(rng):
    root = rng.standard_normal((3, 3))
    return {
        "time": 10 ** rng.uniform(-2, 0.5, 2),
        "target": (root + root.T) / 2,
        "a0": rng.standard_normal((3, 2)) * 10 ** rng.uniform(-2, 0),
    }


def symmetric_direction(x, rng):
    step = rng.standard_normal(x.shape)
    return (np.abs(x).max() or 0.1) * (step + step.T) / 10


MODES = {
    "time": np.array([0.3, 1.2]),
    "target": np.array([1.2, 0.5, -0.4, 0.3]),
    "alpha": np.array([0.3, -0.2, 0.1, 0.2]),
    "beta": np.array([0.1, 0.2, 0.3, -0.2]),
}
OFF = {"alpha": np.array([0.3, 0.0, 0.1, 0.0]), "beta": np.array([0.0, 0.2, 0.0, 0.0])}
MATRIX = {
    "time": np.array([0.2, 0.9]),
    "target": np.diag([1.4, -0.4, 0.6]) + 0.1,
    "a0": np.array([[0.3, 0.1], [0.2, -0.2], [0.1, 0.3]]),
}


def integrated(function):
    """The flow with the trace term, compiled once: numbers of any kind are the matter of the calls without it."""
    flow = jax.jit(functools.partial(function, trace=True))
    return lambda **arguments: flow(*as_floats(*arguments.values()))


MODES_CALL = {
    "edges": {"time": [0.0, np.inf]},
    "scaling": {"time": -1, "target": 1, "alpha": 0.5, "beta": 0.5},
    "degree": 0.5,
    "draw": any_modes,
}
MATRIX_CALL = {
    "cases": [{"target": target, "a0": np.pad(a0, ((0, 0), (0, 1)))[:, :2]} for target, a0 in ALIKE.values()],
    "edges": {"time": [0.0]},
    "scaling": {"time": -1, "target": 1, "a0": 0.5},
    "degree": 1,
    "draw": any_matrix,
}
# through the solver: its tolerance in float32 is 100 roundings; derivatives have tests of their own above
INTEGRATED = {"label": "with trace", "differentiable": False, "rounding": 100.0}
CALLS = [
    Call(
        dynamics.logistic,
        {"time": 0.3, "target": 1.2, "initial": 0.1},
        edges={
            "time": [0.0, -0.3, 1e6, np.inf, -np.inf],
            "target": [0.0, -0.8, 1e-9, 1e6],
            "initial": [0.0, -0.2, 1.2, 1e6, 1e-9],
        },
        cases=[
            *(
                {"time": -0.3, "target": q, "initial": s}
                for q, s in ((1.0, 0.5), (0.5, 1.0), (0.0, 0.1), (-0.4, 0.1), (1.0, 1.0))
            ),
            *(
                {"time": t, "target": q, "initial": s}
                for t in (np.inf, -np.inf)
                for q, s in ((0.0, 0.1), (1.0, 1.0), (1.0, 0.0))
            ),
        ],
        # a start of 0 grows along a or along b; a limit jumps with the signs of the target and the start
        kinks=["initial=0.", *(f"case {i}" for i in range(5, 11))],
        scaling={"time": -1, "target": 1, "initial": 1},
        degree=1,
        draw=any_logistic,
    ),
    Call(
        dynamics.eigen_flow,
        {**MODES, "trace": False},
        cases=[
            OFF,
            {"target": 0 * MODES["target"]},
            {**OFF, "target": 0 * MODES["target"]},
            {"time": np.array([np.inf, 0.0]), **OFF},
        ],
        kinks=["case 3"],  # the limit is another one for another set of zeros
        **MODES_CALL,
    ),
    Call(dynamics.riccati_flow, {**MATRIX, "trace": False}, directions={"target": symmetric_direction}, **MATRIX_CALL),
    Call(integrated(dynamics.eigen_flow), MODES, of=dynamics.eigen_flow, **MODES_CALL, **INTEGRATED),
    Call(integrated(dynamics.riccati_flow), MATRIX, of=dynamics.riccati_flow, **MATRIX_CALL, **INTEGRATED),
    Call(
        dynamics.conserved,
        {
            "w": np.array([[1.3, -0.4, 0.3], [0.2, 0.9, -1.0]]),
            "v": np.array([[0.3, 0.7, -0.3], [1.2, -0.9, 0.4]]),
            "p": np.array([0.5, -0.5, 2.0]),
        },
        cases=[{"w": np.zeros((2, 3))}, {"p": np.zeros(3)}, {"v": np.array([[1.3, -0.4, 0.3], [0.2, 0.9, -1.0]])}],
        scaling={"w": 1, "v": 1, "p": 1},
        degree=(2, 2, 2, 2, 2, 0, 0),
    ),
    Call(
        dynamics.conserved, {"w": np.array([[1.3, -0.4], [0.2, 0.9]]), "v": np.array([[0.3, 0.7], [1.2, -0.9]])}, label="ones"
    ),
]
