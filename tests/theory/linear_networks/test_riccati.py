"""The Riccati solution against the flow of the weights by scipy, in 260 digits at long times, and the reference numbers."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from closedform.theory.linear_networks import riccati
from zoo.calls import Call
from zoo.checks import rejected

riccati_flow, two_layer_flow, scalar_time = map(
    jax.jit, (riccati.riccati_flow, riccati.two_layer_flow, riccati.unbalanced_time)
)
TIMES = np.array([0.5, 1.0, 2.0])


def weights_flow(times, cross, w1, w2):
    """W_1 and W_2 at sorted times, by scipy."""

    def parts(y):
        return y[: w1.size].reshape(w1.shape), y[w1.size :].reshape(w2.shape)

    def velocity(_, y):
        a, b = parts(y)
        error = cross - b @ a
        return np.concatenate([(b.T @ error).ravel(), (error @ a.T).ravel()])

    start = np.concatenate([w1.ravel(), w2.ravel()])
    found = solve_ivp(velocity, (0, times[-1]), start, "DOP853", t_eval=times, rtol=1e-13, atol=1e-15)
    return [parts(y) for y in found.y.T]


def balanced(rng, outputs, dim, width, lopsided, scale):
    """A start of W_2^T W_2 - W_1 W_1^T = lambda I: common left vectors, with squares of singular values lambda apart."""
    if width > min(outputs, dim):  # balanced, and of less rank than units
        assert lopsided == 0
        rank, hidden = min(outputs, dim), np.linalg.qr(rng.standard_normal((width, width)))[0]
        values = scale * rng.uniform(0.5, 1.5, rank)
        u, v = (np.linalg.qr(rng.standard_normal((n, n)))[0][:, :rank] for n in (outputs, dim))
        return (hidden[:, :rank] * values) @ v.T, (u * values) @ hidden[:, :rank].T
    squares = scale**2 * rng.uniform(0.5, 1.5, width)
    first, second = np.sqrt(squares + max(-lopsided, 0)), np.sqrt(squares + max(lopsided, 0))
    hidden = np.linalg.qr(rng.standard_normal((width, width)))[0]
    v, u = (np.linalg.qr(rng.standard_normal((n, n)))[0][:, :width] for n in (dim, outputs))
    return (hidden * first) @ v.T, (u * second) @ hidden.T


STARTS = [  # outputs, dim, width, lambda
    (3, 4, 2, 0.7),
    (3, 4, 3, 3.0),
    (3, 4, 3, -1.3),
    (3, 4, 6, 0.0),
]


def assert_follows_the_weights(flow_fn, outputs, dim, width, lopsided):
    rng = np.random.default_rng(0)
    cross = rng.standard_normal((outputs, dim))
    w1, w2 = balanced(rng, outputs, dim, width, lopsided, 0.3)
    found = flow_fn(TIMES, cross, w1, w2)
    states = weights_flow(TIMES, cross, w1, w2)
    expected = [np.stack(part) for part in zip(*((b @ a, a.T @ a, b @ b.T) for a, b in states), strict=True)]
    for part, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, right, rtol=0, atol=1e-10)


@pytest.mark.parametrize("start", [STARTS[0], *(pytest.param(start, marks=pytest.mark.slow) for start in STARTS[1:])])
def test_two_layers_follow_the_flow_of_their_weights(start):
    """The acceptance of 1e-10 against ODE integration, all second moments, lambda of both signs and more units than modes."""
    assert_follows_the_weights(two_layer_flow, *start)


def mutated(c=1.0, sign=1.0, half=True):
    """A two-layer solution by the formula itself, for short times, with a plausible mistake."""

    def flow(times, cross, w1, w2):
        lopsided = sign * (np.sum(w2**2) - np.sum(w1**2)) / len(w1)
        (outputs, dim), Q = cross.shape, np.concatenate([w1.T, w2])
        F = np.block([[-lopsided / 2 * np.eye(dim), cross.T], [cross, lopsided / 2 * np.eye(outputs)]])
        f, V = np.linalg.eigh(F)
        result = []
        for t in times:
            M = (V * np.exp(f * t)) @ V.T
            G = (V * (np.expm1(2 * f * t) / (2 * f if half else f))) @ V.T
            result.append(M @ Q @ np.linalg.inv(np.eye(len(w1)) + c * Q.T @ G @ Q) @ Q.T @ M)
        P = np.stack(result)
        return riccati.TwoLayer(P[:, dim:, :dim], P[:, :dim, :dim], P[:, dim:, dim:])

    return flow


def test_mutations_are_rejected():
    start = STARTS[0]
    assert_follows_the_weights(mutated(), *start)
    rejected(assert_follows_the_weights, mutated(c=0.5), *start)  # (Q Q^T)^2/2
    rejected(assert_follows_the_weights, mutated(half=False), *start)  # F^-1 (e^{2 F t} - 1) without the 1/2
    rejected(assert_follows_the_weights, mutated(sign=-1.0), *start)  # the sign of lambda
    rejected(assert_follows_the_weights, lambda t, *rest: two_layer_flow(2 * t, *rest), *start)  # a loss without 1/2


def test_reference_numbers():
    """The specification's numbers: a symmetric balanced pair, and a pair that is balanced to 1e-11."""
    A = np.array([[0.02, 0.005], [0.005, 0.01]])
    values, vectors = np.linalg.eigh(A)
    root = (vectors * np.sqrt(values)) @ vectors.T
    found = riccati.two_layer_flow(TIMES, [[2, 0.5], [0.5, 1]], root, root).product
    expected = [
        [[0.1609535333, 0.0594983682], [0.0594983682, 0.0419567969]],
        [[0.8624299284, 0.3417921283], [0.3417921283, 0.1788456717]],
        [[1.8794885743, 0.7147599390], [0.7147599390, 0.4499686963]],
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    w1 = 0.1 * np.array([[1, 0.3], [-0.2, 0.5]])
    w2 = np.array([[0.003328195947, 0.053458341141], [-0.104350002931, 0.006496596217]])
    found = riccati.two_layer_flow(TIMES, [[2, 0.5], [0, 1.0]], w1, w2).product
    expected = [
        [[0.0228933935, 0.0050893925], [-0.0142666343, 0.0032842981]],
        [[0.1661114365, 0.0254503248], [-0.0237766163, 0.0117131180]],
        [[1.6909700229, 0.4253440133], [0.1125282531, 0.1295603517]],
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)  # the weights have 12 digits


def in_digits(time, generator, factor, digits=260):
    """P(t) by the formula, in so many digits."""
    with mpmath.workdps(digits):
        F, A, t = mpmath.matrix(generator.tolist()), mpmath.matrix(factor.tolist()), mpmath.mpf(time)
        values, V = mpmath.eigsy(F)
        M = V * mpmath.diag([mpmath.exp(f * t) for f in values]) * V.T * A
        G = [mpmath.expm1(2 * f * t) / (2 * f) if abs(f) > 1e-40 else t for f in values]
        inner = mpmath.eye(A.cols) + (V.T * A).T * mpmath.diag(G) * (V.T * A)
        return np.array((M * mpmath.inverse(inner) * M.T).tolist(), float)


@pytest.mark.parametrize("scale", [1e-8, pytest.param(0.3, marks=pytest.mark.slow)])
def test_long_times_from_tiny_starts(scale):
    """|F| t up to 221 from starts of 1e-8, where the formula as it stands has lost everything; a singular F, in any order."""
    rng = np.random.default_rng(1)
    u, v = np.linalg.qr(rng.standard_normal((3, 3)))[0], np.linalg.qr(rng.standard_normal((4, 4)))[0]
    cross = u @ np.diag([4, 1.5, 0.5]) @ v.T[:3]
    F = np.block([[np.zeros((4, 4)), cross.T], [cross, np.zeros((3, 3))]])
    A = scale * rng.standard_normal((7, 2))  # one mode is never learned
    times = np.array([5.5, 221.0, 20.0]) / 4
    found = np.asarray(riccati_flow(times, F, A))
    for time, P in zip(times, found, strict=True):
        np.testing.assert_allclose(P, in_digits(time, F, A), rtol=0, atol=2e-13)
    if scale == 1e-8:

        def assert_right(P):
            np.testing.assert_allclose(P, in_digits(times[1], F, A), rtol=0, atol=1e-2)

        with np.errstate(all="ignore"):
            values, V = np.linalg.eigh(F)
            M = (V * np.exp(values * times[1])) @ V.T @ A
            G = (V * (np.expm1(2 * values * times[1]) / (2 * values))) @ V.T
            rejected(assert_right, M @ np.linalg.pinv(np.eye(2) + A.T @ G @ A) @ M.T)


def test_limits():
    """At 0 the start; after infinite time twice the positive part of F, or its greatest eigenvalues where units are few."""
    rng = np.random.default_rng(2)
    V = np.linalg.qr(rng.standard_normal((7, 7)))[0]
    values = np.array([2.0, 2.0, 0.7, 0.0, 0.0, -0.4, -2.0])
    F, A = (V * values) @ V.T, rng.standard_normal((7, 2))
    start, end, late = np.asarray(riccati_flow(np.array([0.0, np.inf, 200.0]), F, A))
    np.testing.assert_allclose(start, A @ A.T, rtol=0, atol=1e-14)
    np.testing.assert_allclose(end, 4 * V[:, :2] @ V[:, :2].T, rtol=0, atol=1e-13)
    np.testing.assert_allclose(late, end, rtol=0, atol=1e-13)
    # one unit, beside an idle one, and a repeated eigenvalue: growth is along the start's part in its space
    a = A * np.array([1.0, 0.0])
    along = V[:, :2] @ (V[:, :2].T @ a[:, :1])
    one = riccati_flow(np.array([0.0, np.inf, 200.0]), F, a)[1]
    np.testing.assert_allclose(one, 4 * along @ along.T / np.sum(along**2), rtol=0, atol=1e-13)
    np.testing.assert_array_equal(riccati_flow(np.array([0.0, np.inf, 200.0]), F, 0 * A), 0)


@pytest.mark.slow
def test_no_times_and_single_precision():
    F, A = np.diag([1.0, 0.4, -0.2]), 0.3 * np.random.default_rng(2).standard_normal((3, 2))
    assert riccati.riccati_flow([], F, A).shape == (0, 3, 3)
    assert riccati.riccati_flow(0.5, F, A).shape == (3, 3)
    end = riccati.riccati_flow(np.inf, F, A)
    with jax.enable_x64(False):
        # by loops over times and rank, and written out
        times = [200.0, 1e10, np.inf]
        single = [riccati.riccati_flow(times, np.float32(F), np.float32(A))]
        single += [riccati.riccati_flow(times[-1:], np.float32(F), np.float32(A))]
    assert {one.dtype for one in single} == {jnp.dtype("float32")}
    np.testing.assert_allclose(np.concatenate(single), [end] * 4, rtol=0, atol=1e-4)
    # a mode of that strength at that time: w_2^2 - w_1^2 = 0.08 and w_1 w_2 = 0.03
    time = scalar_time(0.5, 1.0, 0.03, 0.08)
    np.testing.assert_allclose(riccati.two_layer_flow(time, [[1.0]], [[0.1]], [[0.3]]).product, [[0.5]], rtol=1e-12)


def test_imbalance_is_conserved():
    """By the flow of the weights, of any start, to 1e-10; a kernel of another sign is not."""
    rng = np.random.default_rng(3)
    cross, w1, w2 = rng.standard_normal((3, 4)), 0.5 * rng.standard_normal((5, 4)), 0.5 * rng.standard_normal((3, 5))
    (end,) = weights_flow(np.array([3.0]), cross, w1, w2)

    def assert_conserved(kept_fn):
        np.testing.assert_allclose(kept_fn(*end), kept_fn(w1, w2), rtol=0, atol=1e-10)

    assert_conserved(riccati.imbalance)
    rejected(assert_conserved, lambda w1, w2: w2.T @ w2 + w1 @ w1.T)
    rejected(assert_conserved, lambda w1, w2: w1 @ w1.T)


def assert_scalar_times(time_fn):
    """By quadrature of 1/u', below the target and above it; the half time of a balanced mode; zeros."""
    for u, s, u0, skew in ((0.5, 1.0, 1e-3, 0.3), (0.9, 1.3, 0.2, -2.0), (0.1, 0.3, 0.0, 0.01), (1.5, 1.0, 4.0, 0.6)):
        expected = quad(lambda x, s=s, skew=skew: 1 / (np.hypot(skew, 2 * x) * (s - x)), u0, u, epsrel=1e-12)[0]
        np.testing.assert_allclose(time_fn(u, s, u0, skew), expected, rtol=1e-9)
    np.testing.assert_allclose(time_fn(0.5, 1.0, 1e-3, 0.0), 3.45338, atol=5e-6)
    np.testing.assert_allclose(time_fn(0.5, 1.0, 1e-5, 1e-30), 5.75646, atol=5e-6)


def test_time_of_an_unbalanced_mode():
    assert_scalar_times(scalar_time)
    rejected(assert_scalar_times, lambda u, s, u0, skew: scalar_time(u, s, u0, 2 * skew))
    rejected(assert_scalar_times, lambda *arguments: 2 * scalar_time(*arguments))
    # the paper's form, with arsinh
    u, s, u0, skew = 0.5, 1.0, 1e-3, 0.3
    A, A0 = (np.arcsinh((skew**2 + 4 * s * x) / (2 * skew * (s - x))) for x in (u, u0))
    np.testing.assert_allclose(scalar_time(u, s, u0, skew), (A - A0) / np.hypot(skew, 2 * s), rtol=1e-12)
    starts = ((1.0, 0.5), (2.0, 0.5), (0.0, 0.5), (0.0, 0.0), (0.5, 0.0), (1.0, 1.0), (0.3, 1.0))
    found = [scalar_time(u, 1.0, u0, 0.0) for u, u0 in starts]
    np.testing.assert_array_equal(found, [np.inf, np.inf, -np.inf, 0, np.inf, 0, np.inf])
    # lazy: exponential of rate |lambda|
    np.testing.assert_allclose(scalar_time(0.5, 1.0, 0.0, -1e4), np.log(2) / 1e4, rtol=1e-3)


def test_starts_that_are_refused():
    rng = np.random.default_rng(4)
    cross, w1, w2 = rng.standard_normal((3, 4)), rng.standard_normal((2, 4)), rng.standard_normal((3, 2))
    with pytest.raises(ValueError, match=r"w2 must have W_2\^T W_2 - W_1 W_1\^T = lambda I with w1"):
        riccati.two_layer_flow(1.0, cross, w1, w2)
    with pytest.raises(ValueError, match="generator must be symmetric"):
        riccati.riccati_flow(1.0, [[0.0, 1.0], [0.0, 0.0]], np.eye(2))
    with pytest.raises(ValueError, match=r"w2 must have the shape \(output, width\) with output = 3 as in cross"):
        riccati.two_layer_flow(1.0, cross, w1, w2[:2])


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def symmetric_direction(x, rng):
    step = rng.standard_normal(x.shape)
    return (np.abs(x).max() or 0.1) * (step + step.T) / 10


def any_generator(rng):
    root = rng.standard_normal((3, 3))
    return {
        "time": 10 ** rng.uniform(-2, 0.5, 2),
        "generator": (root + root.T) / 2,
        "factor": rng.standard_normal((3, 2)) * 10 ** rng.uniform(-2, 0),
    }


def any_network(rng):
    w1, w2 = balanced(rng, 2, 2, 2, rng.choice([-1, 0, 1]) * 10 ** rng.uniform(-1, 0.5), 10 ** rng.uniform(-2, 0))
    return {"time": 10 ** rng.uniform(-2, 0.5, 2), "cross": rng.standard_normal((2, 2)), "w1": w1, "w2": w2}


W1, W2 = balanced(np.random.default_rng(5), 2, 2, 2, 0.5, 0.4)
CALLS = [
    Call(
        riccati.riccati_flow,
        {
            "time": np.array([0.2, 0.9]),
            "generator": np.diag([1.4, -0.4, 0.6]) + 0.1,
            "factor": np.array([[0.3, 0.1], [0.2, -0.2], [0.1, 0.3]]),
        },
        edges={"time": [0.0, np.inf]},
        cases=[
            {"generator": np.eye(3)},
            {"generator": np.zeros((3, 3))},
            {"factor": np.outer([0.3, 0.1, 0.2], [1.0, 2.0])},
            # the second row repeats the first, as where a balanced start and the map differ by a reflection
            {"generator": np.diag([2.0, 0.3, -2.0]), "factor": np.array([[0.25, 0.0], [0.15, 0.0], [-0.03, 0.2]])},
        ],
        scaling={"time": -1, "generator": 1, "factor": 0.5},
        degree=1,
        draw=any_generator,
        directions={"generator": symmetric_direction},
    ),
    Call(
        riccati.two_layer_flow,
        {"time": np.array([0.2, 0.9]), "cross": np.array([[1.2, 0.3], [-0.2, 0.5]]), "w1": W1, "w2": W2},
        edges={"time": [0.0, np.inf]},
        scaling={"time": -1, "cross": 1, "w1": 0.5, "w2": 0.5},
        degree=1,
        draw=any_network,
    ),
    Call(
        riccati.imbalance,
        {"w1": np.array([[1.3, -0.4], [0.2, 0.9]]), "w2": np.array([[0.3, 0.7]])},
        scaling={"w1": 1, "w2": 1},
        degree=2,
    ),
    Call(
        riccati.unbalanced_time,
        {"strength": 0.5, "target": 1.2, "initial": 0.1, "imbalance": 0.3},
        edges={"imbalance": [0.0, -0.3, 1e6], "strength": [0.0, 0.1, 1.2, 2.0], "initial": [0.0, 1.2]},
        scaling={"strength": 1, "target": 1, "initial": 1, "imbalance": 1},
        degree=-1,
    ),
]
