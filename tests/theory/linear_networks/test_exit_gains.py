"""Gains of networks with an exit at every layer against their equation, against gradient flow, and against gradient descent."""

import numpy as np
from scipy.integrate import solve_ivp

from closedform.theory.linear_networks import exit_gains
from closedform.theory.linear_networks.exit_gains import exit_scales, growth_rate, mixing_exponent
from zoo.calls import Call
from zoo.checks import rejected

gains = exit_gains.exit_gains


def assert_balanced(gains_fn):
    """w_n^2 = w_{n+1}^2 + K/g_n^2, to 1e-12 of the largest gain, for one layer to eight and counts from 1e-9 to 1e9."""
    counts = np.array([1e-9, 0.4, 3.0, 1e9])
    for depth in (1, 3, 8):
        for count, w in zip(counts, np.asarray(gains_fn(counts, depth), float), strict=True):
            g, after = np.cumprod(w), np.append(w[1:], 0)
            np.testing.assert_allclose(w**2, after**2 + count / g**2, atol=1e-12 * w.max() ** 2)


def test_gains_solve_their_equation():
    assert_balanced(gains)
    rejected(
        assert_balanced, lambda counts, depth: np.tile(counts[:, None] ** (1 / 4), depth)
    )  # each layer as if it were alone
    rejected(assert_balanced, lambda counts, depth: np.asarray(gains(counts, depth))[:, ::-1])
    rejected(assert_balanced, lambda count, depth: gains(np.sqrt(count), depth))
    np.testing.assert_allclose(exit_scales([3.0, 1.0], 4), np.cumprod(gains([3.0, 1.0], 4), axis=1), rtol=1e-13)


def assert_acceptance(gains_fn):
    """Two and three layers; with two prefixes and two layers exactly sqrt 2 and 1, with one layer K^(1/4)."""
    np.testing.assert_allclose(gains_fn([3.0, 1.0], 2), [[1.5433, 1.0594], [1.2207, 0.9051]], atol=5e-5)
    np.testing.assert_allclose(gains_fn(3.0, 3), [1.6375, 1.2500, 0.9199], atol=6e-5)
    np.testing.assert_allclose(gains_fn(2.0, 2), [np.sqrt(2), 1], rtol=1e-14)
    np.testing.assert_allclose(gains_fn([1.0, 2.0, 16.0], 1), [[1.0], [2**0.25], [2.0]], rtol=1e-14)


def test_gains_of_few_layers():
    assert_acceptance(gains)
    rejected(assert_acceptance, lambda count, depth: gains(2 * np.asarray(count), depth))


def velocity(depth, count, eigenvalue, weights):
    """Minus the gradient of one coordinate in its gains and in its decoders of each layer, `count` alike ones."""

    def of(_, state):
        w, v = state[:depth], state[depth:]
        g = np.cumprod(w)
        left = 2 * eigenvalue * weights * (1 - v * g)
        # layer j is in g_n for all n >= j
        return np.append(np.cumsum((count * left * v * g)[::-1])[::-1] / w, left * g)

    return of


def assert_ends(gains_fn):
    """Where gradient flow ends from gains and decoders of 1e-3, for two spectra and unequal weights of the layers."""
    for depth, count, eigenvalue, weights in ((2, 3, 1.0, np.ones(2)), (3, 2, 0.4, np.array([1.0, 3.0, 0.5]))):
        flow = solve_ivp(
            velocity(depth, count, eigenvalue, weights), (0, 150), np.full(2 * depth, 1e-3), "LSODA", rtol=1e-9, atol=1e-12
        )
        np.testing.assert_allclose(gains_fn(float(count), depth), flow.y[:depth, -1], rtol=1e-4)


def test_gains_are_where_gradient_flow_ends():
    assert_ends(gains)
    rejected(assert_ends, lambda count, depth: gains(1.0, depth))  # one decoder for all prefixes
    rejected(assert_ends, lambda count, depth: np.full(depth, np.asarray(gains(count, depth)).mean()))


def test_gains_of_gradient_descent():
    """From 0.01 with step size 0.005 on half the loss: 1.5409, 1.0602 and 1.6334, 1.2481, 0.9217, off by the step size."""
    for depth, found in ((2, [1.5409, 1.0602]), (3, [1.6334, 1.2481, 0.9217])):
        state, step = np.full(2 * depth, 0.01), velocity(depth, 3, 4.0, np.ones(depth))
        for _ in range(6000):
            state = state + 0.0025 * step(0, state)
        np.testing.assert_allclose(state[:depth], found, atol=1e-4)
        np.testing.assert_allclose(gains(3.0, depth), state[:depth], rtol=5e-3)


def assert_rate(rate_fn):
    """The largest eigenvalue of the flow of a gain and K decoders at 0, of the loss without 1/2."""
    for eigenvalue, count in ((3.0, 1), (0.7, 4)):
        matrix = np.zeros((count + 1, count + 1))
        matrix[0, 1:] = matrix[1:, 0] = 2 * eigenvalue
        np.testing.assert_allclose(rate_fn(eigenvalue, float(count)), np.linalg.eigvalsh(matrix)[-1], rtol=1e-12)


def test_growth_of_small_gains():
    assert_rate(growth_rate)
    rejected(assert_rate, lambda eigenvalue, count: 2 * eigenvalue * count)
    rejected(assert_rate, lambda eigenvalue, count: growth_rate(eigenvalue, count) / 2)
    assert growth_rate(2.0, 0.0) == 0


def test_mixing_falls_as_a_power_of_the_start():
    """The second gain when the first has grown from a to 1, at two scales a: the slope is the exponent."""
    first, second = growth_rate(1.0, 4.0), growth_rate(1.0, 3.0)
    left = [a * np.exp(float(second) * np.log(1 / a) / float(first)) for a in (1e-2, 1e-4)]
    np.testing.assert_allclose(np.log(left[0] / left[1]) / np.log(100), mixing_exponent(4.0, 3.0), rtol=1e-12)
    assert mixing_exponent(2.0, 2.0) == 0
    assert mixing_exponent(2.0, 0.0) == 1


CALLS = [
    Call(exit_gains.exit_gains, {"count": np.array([3.0, 0.5]), "depth": 3}),
    Call(exit_gains.exit_scales, {"count": np.array([3.0, 0.5]), "depth": 3}),
    Call(exit_gains.growth_rate, {"eigenvalue": np.array([2.0, 0.5]), "count": 3.0}, scaling={"eigenvalue": 1}, degree=1),
    Call(exit_gains.mixing_exponent, {"first": np.array([4.0, 3.0]), "second": 2.0}, scaling={"first": 1, "second": 1}),
]
