"""Modes of a deep linear network against numerical integration, closed forms of single depths, and gradient descent."""

import jax
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from closedform.theory.linear_networks import modes
from zoo.calls import Call
from zoo.checks import rejected

DEPTHS = (1, 2, 4, 5)
TIMES = np.array([0.0, 0.1, 1.0, 6.0, 20.0])
STARTS = ((2.0, 0.01, 0.7), (0.5, 3.0, 1.2), (0.01, 50.0, 1.0), (0.0, 2.0, 1.0), (1.0, 1.0, 0.5), (1.0, 0.0, 1.0))  # t, u_0, p
MODE = {"target": np.array([2.0, 0.5]), "initial": np.array([0.01, 3.0]), "variance": 0.7}
CALLS = [
    *(
        Call(
            modes.mode_strength,
            {"time": 1.5, **MODE, "depth": depth},
            label=f"depth {depth}",
            scaling={"target": 1, "initial": 1, "variance": 2 / depth - 2},
            degree=1,
            scales=(1e-3, 1e3),
            cases=({"target": np.array([1.0, 1.0]), "initial": np.array([1.0, 0.5])},),
            # a large start is followed backwards in the logarithm of its distance from the target
            rounding=20.0 if depth > 2 else 1.0,
            kinks=("initial[0]=0.0", "initial=0.0") if depth > 2 else (),  # the slope there is that of a root
        )
        for depth in (1, 2, 3)
    ),
    *(
        Call(
            modes.half_time,
            {"target": 2.0, "initial": 0.01, "depth": depth, "share": 0.4, "variance": 0.7},
            label=f"depth {depth}",
            scaling={"variance": 1},
            degree=-1,
        )
        for depth in (1, 2, 4)
    ),
    *(
        Call(modes.small_start_time, {"target": 2.0, "initial": 0.01, "depth": depth, "variance": 0.7}, label=f"depth {depth}")
        for depth in (2, 4)
    ),
    Call(
        modes.layer_share,
        {"targets": np.array([2.0, 1.0]), "variances": np.array([1.0, 0.5]), "layer": 1, "depth": 3},
        kinks=("targets[0]=0.0", "targets=0.0", "variances=0.0"),
    ),
]


@pytest.fixture(scope="module")
def strengths():
    """u(time, start) of each depth, all by one program."""
    targets, starts, variances = np.array(STARTS).T
    every = jax.jit(lambda t: [modes.mode_strength(t[:, None], targets, starts, depth, variances) for depth in DEPTHS])
    with jax.enable_x64(True):
        return dict(zip(DEPTHS, map(np.asarray, every(TIMES)), strict=True))


@pytest.mark.parametrize("depth", DEPTHS)
def test_modes_solve_their_equation(strengths, depth):
    def assert_solves(rate_of_depth):
        for index, (target, start, variance) in enumerate(STARTS):
            flow = solve_ivp(
                lambda _, u, t=target, p=variance: rate_of_depth * np.abs(u) ** (2 - 2 / depth) * p * (t - u),
                (0, TIMES[-1]),
                [start],
                method="LSODA",
                t_eval=TIMES,
                rtol=1e-12,
                atol=1e-14,
            )
            np.testing.assert_allclose(strengths[depth][:, index], flow.y[0], rtol=1e-7, atol=1e-12)

    assert_solves(depth)
    rejected(assert_solves, depth + 1)
    rejected(assert_solves, depth / 2)  # the time of a loss without 1/2


def test_four_layers_by_the_hyperbolic_tangent(strengths):
    """At four layers t(u) = [-2/(s sqrt u) + 2 s^(-3/2) artanh sqrt(u/s)]/4 between start and end, inputs of variance 1."""

    def law(u, s):
        return (-2 / (s * np.sqrt(u)) + 2 * s**-1.5 * np.arctanh(np.sqrt(u / s))) / 4

    target, start, variance = STARTS[0]
    times = [law(u, target) - law(start, target) for u in strengths[4][:3, 0]]
    np.testing.assert_allclose(times, TIMES[:3] * variance, atol=1e-11)


@pytest.mark.parametrize(
    ("start", "expected"),
    [(1e-3, [3.45338, 9.14475, 15.52915, 20.95323]), (1e-5, [5.75646, 45.56541, 157.84588, 333.28121])],
)
def test_half_times_of_two_to_five_layers(start, expected):
    """The numbers of the specification, with target 1."""
    found = [float(modes.half_time(1.0, start, depth)) for depth in (2, 3, 4, 5)]
    np.testing.assert_allclose(found, expected, atol=6e-6)
    laws = np.array([float(modes.small_start_time(1.0, start, depth)) for depth in (2, 3, 4, 5)])
    np.testing.assert_allclose(laws, found, rtol=0.3 if start == 1e-3 else 0.06)
    rejected(np.testing.assert_allclose, 2 * laws, found, 0.3)


@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_half_time_is_the_integral_of_the_equation(depth):
    target, start, share, variance = 1.7, 0.02, 0.8, 0.6
    expected, _ = quad(
        lambda u: 1 / (depth * u ** (2 - 2 / depth) * variance * (target - u)), start, share * target, epsabs=1e-12, limit=500
    )
    np.testing.assert_allclose(modes.half_time(target, start, depth, share, variance), expected, rtol=1e-9)


def test_where_a_mode_does_not_move():
    for depth in (1, 2, 3):
        assert modes.half_time(1.0, 0.6, depth) == 0  # beyond one half from the start
        assert modes.half_time(1.0, 0.1, depth, variance=0.0) == np.inf
        assert modes.half_time(1.0, 0.0, depth) == (np.inf if depth > 1 else np.float64(np.log(2)))
        assert modes.half_time(0.0, 0.1, depth) == 0  # it starts above every share of 0
        assert modes.mode_strength(np.inf, 1.0, 0.1, depth, 0.0) == 0.1
        assert modes.mode_strength(np.inf, 1.0, 0.0, depth) == (1 if depth == 1 else 0)
        assert modes.mode_strength(np.inf, 2.0, 0.1, depth) == 2
        assert modes.mode_strength(np.inf, 0.0, 0.1, depth) == 0
        assert modes.mode_strength(1e6, 2.0, 0.1, depth) == pytest.approx(2, rel=1e-14)


def descended(layers, targets, variances, learning_rate, num_steps):
    """Gradient descent of all layers of a linear network on the population loss; in numpy."""
    weights = [np.array(w) for w in layers]
    for _ in range(num_steps):
        befores, afters = [np.eye(weights[0].shape[1])], [np.eye(weights[-1].shape[0])]
        for w in weights[:-1]:
            befores.append(w @ befores[-1])
        for w in weights[:0:-1]:
            afters.append(afters[-1] @ w)
        error = (weights[-1] @ befores[-1] - np.diag(targets)) * variances[None]
        gradients = [after.T @ error @ before.T for before, after in zip(befores, afters[::-1], strict=True)]
        weights = [w - learning_rate * g for w, g in zip(weights, gradients, strict=True)]
    return weights


@pytest.mark.parametrize("depth", [2, 3])
def test_gradient_descent_follows_the_modes_and_their_shares(depth):
    """Steps of 1e-3 lag by 1e-3 s^2 t/4 of a mode of strength s, at most 0.5 %; the shares at the end are exact."""
    targets, variances, u0, rate = np.array([2.0, 1.0]), np.array([1.0, 0.7]), 0.05, 1e-3
    start = [u0 ** (1 / depth) * np.eye(2)] * depth

    def assert_follows(strength_fn):
        after = descended(start, targets, variances, rate, 1500)
        found = np.diag(np.linalg.multi_dot(after[::-1]))
        np.testing.assert_allclose(found, strength_fn(1500 * rate, targets, u0, depth, variances), rtol=5e-3)

    assert_follows(modes.mode_strength)
    rejected(assert_follows, lambda time, t, u, depth, p: modes.mode_strength(2 * time, t, u, depth, p))
    rejected(assert_follows, lambda time, t, u, depth, p: modes.mode_strength(time, t * p, u, depth))

    trained = descended(start, targets, variances, 0.05, 800)
    representation = np.eye(2)
    for layer, weight in enumerate(trained, start=1):
        representation = weight @ representation
        parts = np.sum(representation**2, axis=0) * variances

        def assert_share(layer, parts=parts):
            np.testing.assert_allclose(modes.layer_share(targets, variances, layer, depth), parts / parts.sum(), rtol=1e-6)

        assert_share(layer)
        rejected(assert_share, layer - 1)


def test_shares_of_the_specification():
    """Targets 2 and 1 of variance 1: 2/3 after one of two layers; .6135 and .7159 of three; .5858, .6667, .7388 of four."""
    for depth, expected in ((2, [2 / 3]), (3, [0.6135, 0.7159]), (4, [0.5858, 0.6667, 0.7388])):
        found = [float(modes.layer_share([2.0, 1.0], [1.0, 1.0], layer, depth)[0]) for layer in range(1, depth)]
        np.testing.assert_allclose(found, expected, atol=5e-5)
    assert modes.layer_share([0.0, 3.0], [1.0, 1.0], 1, 2).tolist() == [0, 1]
    assert modes.layer_share([1e-300, 2e-300], [1.0, 1.0], 2, 2).tolist() == pytest.approx([0.2, 0.8])
    with pytest.raises(ValueError, match="layer must be at most the depth 2, got 3"):
        modes.layer_share([1.0], [1.0], 3, 2)
