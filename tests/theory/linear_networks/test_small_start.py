"""Small starts against the flow of the weights by scipy, and the kernel at the end of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from closedform.theory.linear_networks import small_start
from zoo.calls import Call
from zoo.checks import rejected

small_start_flow = jax.jit(small_start.small_start_flow)
TARGETS = np.array([4.0, 2.0, 1.0, 0.5])


@functools.cache
def flowed(scale, times):
    """W_1 and W_2 of one draw at a scale, on a map of four singular values, of eight inputs and outputs."""
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 8, 8))
    cross = np.diag(np.pad(TARGETS, (0, 4)))

    def velocity(_, y):
        a, b = y.reshape(2, 8, 8)
        error = cross - b @ a
        return np.stack([b.T @ error, error @ a.T]).ravel()

    start = scale * np.stack([first, second])
    found = solve_ivp(velocity, (0, times[-1]), start.ravel(), "DOP853", t_eval=times, rtol=1e-12, atol=1e-17)
    return cross, start, found.y.T.reshape(-1, 2, 8, 8)


def times_of(scale):
    return tuple(np.log(1 / scale) * np.array([0.35, 0.75, 1.4, 2.2]) / 1.0)


def assert_near_the_flow(scale, allowed, flow_fn):
    cross, (w1, w2), states = flowed(scale, times_of(scale))
    found = flow_fn(np.array(times_of(scale)), cross, w1, w2)
    for part, of in zip(found, (lambda a, b: b @ a, lambda a, b: a.T @ a, lambda a, b: b @ b.T), strict=True):
        np.testing.assert_allclose(part, np.stack([of(a, b) for a, b in states]), rtol=0, atol=allowed)


def test_a_gaussian_start_with_its_imbalance_neglected():
    """The error is a^2 times a number of the draw, at every rank of the staircase."""
    assert_near_the_flow(1e-2, 3e-3, small_start_flow)
    assert_near_the_flow(1e-4, 3e-7, small_start_flow)
    rejected(assert_near_the_flow, 1e-4, 3e-7, lambda t, *rest: small_start_flow(1.01 * t, *rest))
    rejected(assert_near_the_flow, 1e-4, 3e-7, lambda t, cross, w1, w2: small_start_flow(t, cross, w1, 2 * w2))


def test_greedy_low_rank():
    """Between two of its times the network is the best approximation of the rank of the modes learned."""
    scale = 1e-8
    cross, (w1, w2), _ = flowed(1e-2, times_of(1e-2))
    w1, w2 = w1 / 1e-2 * scale, w2 / 1e-2 * scale
    at = np.asarray(small_start.greedy_times(TARGETS, scale))
    np.testing.assert_allclose(at * TARGETS / np.log(1 / scale), 1, rtol=1e-14)
    plateaus = np.sqrt(at * np.append(at[1:], 2 * at[-1]))
    learned = small_start_flow(plateaus, cross, w1, w2).product

    def assert_best(rank_fn):
        for rank, product in enumerate(learned, 1):
            np.testing.assert_allclose(product, rank_fn(rank), rtol=0, atol=2e-2)

    assert_best(lambda rank: np.where(np.arange(8) < rank, cross, 0))  # the map is diagonal
    rejected(assert_best, lambda rank: np.where(np.arange(8) < rank - 1, cross, 0))
    np.testing.assert_allclose(small_start.best_rank(cross, 2), np.where(np.arange(8) < 2, cross, 0), atol=1e-14)
    # never-learnt modes stay at order a^2
    assert np.linalg.svd(np.asarray(learned[-1]))[1][4] < 100 * scale**2


def first_halves(scale, grid):
    """When singular value i first is s_i/2, by interpolation in the logarithm of u/(s - u), in which one mode is linear."""
    cross, (w1, w2), _ = flowed(1e-2, times_of(1e-2))
    times = np.log(1 / scale) * grid
    flow = small_start_flow(times, cross, w1 / 1e-2 * scale, w2 / 1e-2 * scale).product
    values = np.linalg.svd(np.asarray(flow))[1][:, :4]
    found = []
    for i, s in enumerate(TARGETS):
        k = int(np.argmax(values[:, i] >= s / 2))
        low, high = (np.log(u / (s - u)) for u in values[k - 1 : k + 1, i])
        found.append(times[k - 1] - low * (times[k] - times[k - 1]) / (high - low))
    return np.array(found)


def test_delays_between_two_scales_of_one_draw():
    """s_i (t_i(a') - t_i(a)) = ln(a/a') within .005, although each time is off by a number of the draw."""
    grid = np.linspace(0.1, 2.6, 600)
    times = {scale: first_halves(scale, grid) for scale in (1e-3, 1e-5)}

    def assert_delays(law_fn):
        np.testing.assert_allclose(times[1e-5] - times[1e-3], law_fn(1e-5) - law_fn(1e-3), rtol=0.005)

    assert_delays(lambda scale: small_start.greedy_times(TARGETS, scale))
    rejected(assert_delays, lambda scale: small_start.greedy_times(TARGETS, scale) / 2)  # the law of ln(1/u_0)/(2 s) at u_0 = a
    rejected(assert_delays, lambda scale: small_start.greedy_times(TARGETS[::-1], scale))


def test_the_silent_kernel_is_the_end_of_the_flow():
    """One output, from a = 1e-4; and its direction is reached before the loss moves, for white inputs."""
    rng = np.random.default_rng(1)
    beta = rng.standard_normal(8)
    beta, w, v = beta / np.linalg.norm(beta), 1e-4 * rng.standard_normal((8, 8)), 1e-4 * rng.standard_normal((1, 8))
    times = np.array([2.5, 7.0, 30.0, 60.0])
    flow = small_start_flow(times, 1.7 * beta[None], w, v)
    kernels = np.asarray(flow.inputs) + np.asarray(flow.outputs) * np.eye(8)

    def assert_end(kernel):
        np.testing.assert_allclose(kernels[-1], kernel, rtol=0, atol=1e-6)

    end = np.asarray(small_start.silent_kernel(1.7 * beta))
    assert_end(end)
    rejected(assert_end, 1.7 * np.outer(beta, beta))  # without the readout's part
    rejected(assert_end, end / 1.7)
    cosine = np.sum(kernels[0] * end) / np.linalg.norm(kernels[0]) / np.linalg.norm(end)
    assert cosine > 0.99
    assert np.sum((np.asarray(flow.product[0]) - 1.7 * beta) ** 2) > 0.999 * 1.7**2


def any_start(rng):
    return {
        "time": 10 ** rng.uniform(-2, 0.5, 2),
        "cross": rng.standard_normal((2, 2)),
        "w1": rng.standard_normal((2, 2)) * 10 ** rng.uniform(-2, 0),
        "w2": rng.standard_normal((2, 2)) * 10 ** rng.uniform(-2, 0),
    }


CALLS = [
    Call(
        small_start.small_start_flow,
        {
            "time": np.array([0.2, 0.9]),
            "cross": np.array([[1.2, 0.3], [-0.2, 0.5]]),
            "w1": np.array([[0.3, 0.1], [-0.2, 0.2]]),
            "w2": np.array([[0.1, -0.2], [0.3, 0.2]]),
        },
        edges={"time": [0.0, np.inf]},
        scaling={"time": -1, "cross": 1, "w1": 0.5, "w2": 0.5},
        degree=1,
        draw=any_start,
    ),
    Call(
        small_start.greedy_times,
        {"targets": np.array([2.0, 0.5]), "init_scale": 0.01},
        edges={"targets": [0.0], "init_scale": [0.0, 1e-30, 0.9]},
        scaling={"targets": 1},
        degree=-1,
    ),
    Call(
        small_start.best_rank,
        {"cross": np.array([[1.2, 0.3, 0.1], [-0.2, 0.5, 0.3]]), "rank": 1},
        scaling={"cross": 1},
        degree=1,
    ),
    Call(small_start.silent_kernel, {"beta": np.array([1.2, -0.3, 0.4])}, scaling={"beta": 1}, degree=1),
]


@pytest.mark.slow
def test_edges_of_the_kernel_and_of_ranks():
    np.testing.assert_array_equal(small_start.silent_kernel([0.0, 0.0]), jnp.zeros((2, 2)))
    np.testing.assert_array_equal(small_start.best_rank([[1.0, 2.0]], 0), [[0, 0]])
    np.testing.assert_allclose(small_start.best_rank([[1.0, 2.0]], 5), [[1, 2]], rtol=1e-14)
