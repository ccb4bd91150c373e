"""Every flow against the flow of W and V themselves, integrated by scipy, and what is conserved along it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from closedform.theory import bilinear_dynamics as dynamics
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


def test_eigen_flow_stays_finite_for_ever():
    zeros = np.array([0, 0.1, 0, 0, 0, 0.2])
    start = np.full(6, 0.1)
    for trace in (True, False):
        for alpha, beta in ((start, zeros), (zeros, start), (start, start)):
            late = eigen_flow(np.array([0, 1, 3, 30, 3e3]), SPECTRUM, alpha, beta, trace=trace)
            assert all(np.isfinite(leaf).all() for leaf in late)
    np.testing.assert_allclose(late.q[-1], SPECTRUM, rtol=1e-12)  # both signs can grow, without the trace term


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


def test_flows_agree_where_both_hold(matrices):
    """A start along three of the eigenvectors: the matrix and its modes, with a sixth one that stays 0."""
    target, _, basis = matrices
    values, alpha = np.append(np.diag(basis.T @ target @ basis), 0), np.array([0.1, 0.3, 0, 0, 0.4, 0])
    for trace in (True, False):
        modes = eigen_flow(TIMES / 2, values, alpha, np.zeros(6), trace=trace)
        flow = riccati_flow(TIMES / 2, target, (basis * alpha[:5])[:, [0, 1, 4]], trace=trace)
        assert_near(np.einsum("di,tde,ei->ti", basis, flow, basis), modes.q[:, :5], 1e-10)


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
