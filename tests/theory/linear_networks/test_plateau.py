"""Plateaus against numerical integration and gradient descent in numpy, cosines against means over all pairs."""

import functools

import jax
import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import erf

from closedform.theory.linear_networks import plateau
from zoo.calls import Call
from zoo.checks import rejected

# -------------------------------------------------------------------------------------------------------------- amplitude

CASES = [
    (0.1, 4, 2.5, 0.0),
    (0.2, 3, 1.0, 0.1),
    (0.3, 5, 2.0, 0.03),
    (0.2, 4, 1.0, 0.05),
    (0.1, 2, 1.0, 0.4),
]  # the fourth is stuck


@functools.cache
def integrated(case):
    """a at three times on the plateau, from the equation of the amplitude."""
    a0, depth, drive, decay = case
    times = np.array([0.5, 1.5, 2.5])
    flow = solve_ivp(lambda _, a: drive * a ** (depth - 1) - decay * a, (0, 2.5), [a0], "LSODA", times, rtol=1e-11, atol=1e-14)
    return times, flow.y[0]


def assert_amplitude(amplitude_fn):
    for case in CASES:
        times, amplitude = integrated(case)
        np.testing.assert_allclose(amplitude_fn(times, *case), amplitude, rtol=1e-8)


def test_amplitude():
    amplitude = jax.jit(plateau.plateau_amplitude, static_argnums=2)
    assert_amplitude(amplitude)
    rejected(assert_amplitude, lambda t, a, depth, b, decay: amplitude(t, a, depth + 1, b, decay))  # hidden layers counted
    rejected(assert_amplitude, lambda t, a, depth, b, decay: amplitude(t, a, depth, b, 2 * decay))  # a penalty without 1/2
    rejected(assert_amplitude, lambda t, a, depth, b, decay: amplitude(2 * t, a, depth, b, decay))  # a loss without 1/2
    rejected(assert_amplitude, lambda t, a, depth, b, decay: amplitude(t, a, depth, b, -0.0 * decay))
    for case in CASES:
        np.testing.assert_allclose(amplitude(np.zeros(3), *case), case[0], rtol=1e-15)
    assert amplitude(np.full(3, np.inf), *CASES[0])[0] == np.inf
    assert amplitude(np.full(3, np.inf), *CASES[3])[0] == 0


def assert_time(time_fn):
    """Just before t* the amplitude is large, as it is at the time at which a numerical integration ends there."""
    for a0, depth, drive, decay in (CASES[0], CASES[1], CASES[2], (0.1, 4, 2.5, 0.0225), (0.1, 4, 2.5, 0.02499)):

        def fast(_, s, depth=depth, drive=drive, decay=decay):  # of s = a^(2 - L), which falls to 0 at t*
            return (2 - depth) * (drive - decay * s)

        def at_zero(_, s):
            return s[0]

        at_zero.terminal = True
        flow = solve_ivp(fast, (0, 1000), [a0 ** (2.0 - depth)], "LSODA", events=at_zero, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(time_fn(a0, depth, drive, decay), flow.t_events[0][0], rtol=1e-6)


def test_time():
    """For |b| = 2.573 at 0.05, 0.1 and 0.2: 77.73, 19.43 and 4.858; and the limits of no decay, no start and no drive."""
    time = plateau.plateau_time
    assert_time(time)
    rejected(assert_time, lambda a, depth, b, decay: time(a, depth, b, 0.0))
    rejected(assert_time, lambda a, depth, b, decay: time(a, depth + 1, b, decay))
    rejected(assert_time, lambda a, depth, b, decay: time(a, depth, b, decay) * (depth - 2))
    np.testing.assert_allclose(time([0.05, 0.1, 0.2], 4, 2.573), [77.73, 19.43, 4.858], rtol=3e-4)
    np.testing.assert_allclose(time(0.1, 2, [2.0, 2.0], [0.0, 1.0]), np.log(10) / np.array([2, 1]), rtol=1e-14)
    for depth in (2, 3, 4):
        np.testing.assert_array_equal(time([0.0, 0.1, 0.1], depth, [1.0, 0.0, 1.0], [0.0, 0.0, 1.0]), np.inf)
    assert time(2.0, 2, 1.0) == 0
    np.testing.assert_allclose(time(0.1, 4, 2.5, 1e-12), time(0.1, 4, 2.5), rtol=1e-9)


def descended(decay, steps=40000, rate=0.01):
    """Norm of the product of four aligned layers on the sample of the specification, and the weight decay at the threshold."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 12))
    x[:, 0] += 2
    y = x[:, :2] @ [0.5, 0.3]
    covariance, b = x.T @ x / 400, x.T @ y / 400
    critical = float(plateau.critical_weight_decay(0.1, 4, np.linalg.norm(b)))
    r, a = 0.1 * b / np.linalg.norm(b), 0.1  # W_1 = u r^T, the other layers of norm a
    for _ in range(steps):
        left = b - covariance @ r * a**3
        r, a = r + rate * (a**3 * left - decay * critical * r), a + rate * (a**2 * (r @ left) - decay * critical * a)
    return np.linalg.norm(r) * a**3


def assert_threshold(factor):
    """Weight decay below the threshold is left behind, and above it everything decays."""
    assert abs(descended(0.9 * factor) - 0.5696) < 2e-4
    assert descended(1.1 * factor) < 1e-12


def test_threshold():
    """At 0.9 of the threshold the network escapes, to a product of norm 0.5696 on that sample, and at 1.1 it decays to 0."""
    assert_threshold(1)
    rejected(assert_threshold, 1 / 2)
    for depth in (3, 4, 6):
        decay = plateau.critical_weight_decay(0.3, depth, 1.7)
        np.testing.assert_allclose(plateau.critical_init_scale(decay, depth, 1.7), 0.3, rtol=1e-14)
        assert np.isinf(plateau.plateau_time(0.3, depth, 1.7, decay))
        assert np.isfinite(plateau.plateau_time(0.3, depth, 1.7, 0.9999 * decay))
    assert plateau.critical_init_scale(0.0, 4, 1.0) == 0
    np.testing.assert_array_equal(plateau.critical_weight_decay([0.0, 0.5], 2, 1.5), 1.5)  # two layers: whatever the start


def test_momentum():
    """A velocity 1/(1 - beta) times the gradient: heavy-ball descent on a slope needs (1 - beta) as many steps."""
    steps, position, velocity = 0, 0.0, 0.0
    while position < 200:
        velocity = 0.9 * velocity + 1
        position, steps = position + 0.01 * velocity, steps + 1
    np.testing.assert_allclose(plateau.plateau_steps(200.0, 0.01, 0.9), steps, rtol=0.005)
    np.testing.assert_allclose(plateau.plateau_steps(200.0, 0.01), 20000, rtol=1e-14)


# ----------------------------------------------------------------------------------------------------------------- cosine


def mean_cosine(features):
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    return np.mean([one @ other for one in units for other in units])  # every pair, also of an input with itself


def assert_cosine(cosine_fn):
    rng = np.random.default_rng(0)
    x, b = rng.standard_normal((40, 3)) + np.eye(3)[0], np.array([0.9, 0.4, 0])
    hidden = np.outer(x @ b, rng.standard_normal(5))
    np.testing.assert_allclose(cosine_fn(b, x), mean_cosine(hidden), rtol=1e-12)


def test_cosine_on_the_plateau():
    assert_cosine(plateau.plateau_cosine)
    rejected(assert_cosine, lambda b, x: mean_cosine(x))
    rejected(assert_cosine, lambda b, x: np.mean(x @ b > 0) ** 2)  # P^2
    rejected(assert_cosine, lambda b, x: plateau.plateau_cosine(b, x - x.mean(axis=0)))
    assert plateau.plateau_cosine([1.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]) == 0.25  # an input at a right angle has no features


def test_cosine_of_gaussian_inputs():
    means = np.array([0.0, 0.5, 2.0, -2.0])
    share = [np.mean(np.random.default_rng(1).standard_normal(400000) + mean > 0) for mean in means]
    np.testing.assert_allclose(plateau.gaussian_cosine(means), (2 * np.array(share) - 1) ** 2, atol=4e-3)
    np.testing.assert_allclose(plateau.gaussian_cosine(means), erf(means / np.sqrt(2)) ** 2, rtol=1e-13)


def assert_mode_cosine(cosine_fn):
    rng = np.random.default_rng(0)
    x, amplitudes = rng.standard_normal((30, 3)) + np.eye(3)[0], np.array([[1, 1, 1], [3, 1, 0.1], [1, 0, 0], [0.01, 1, 2]])
    found = [mean_cosine((a * x) @ np.linalg.qr(rng.standard_normal((3, 3)))[0]) for a in amplitudes]
    np.testing.assert_allclose(cosine_fn(amplitudes, x), found, rtol=1e-10)


def test_cosine_of_modes():
    cosine = jax.jit(plateau.mode_cosine)
    assert_mode_cosine(cosine)
    rejected(assert_mode_cosine, lambda a, x: cosine(a**2, x))
    rejected(assert_mode_cosine, lambda a, x: cosine(a, x - x.mean(axis=0)))
    assert cosine(np.zeros((4, 3)), np.ones((30, 3)))[0] == 0


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

START = {"init_scale": np.array([0.2, 0.3]), "depth": 4, "drive": np.array([1.5, 0.9])}
DECAYS = {"weight_decay": np.array([0.02, 0.03])}
CALLS = [
    Call(plateau.plateau_time, START | DECAYS, scaling={"drive": 1, "weight_decay": 1}, degree=-1),
    Call(plateau.plateau_amplitude, {"time": np.array([0.5, 1.0])} | START | DECAYS),
    Call(plateau.critical_weight_decay, START, scaling={"drive": 1}, degree=1),
    Call(
        plateau.critical_init_scale,
        {"weight_decay": 0.03, "depth": 4, "drive": 1.5},
        scaling={"drive": 1, "weight_decay": 1},
    ),
    Call(
        plateau.plateau_steps,
        {"time": np.array([0.5, 1.0]), "learning_rate": 0.01, "momentum": 0.5},
        scaling={"time": 1, "learning_rate": 1},
    ),
    Call(
        plateau.plateau_cosine,
        {"direction": np.array([1.0, 0.5]), "inputs": np.array([[1.0, 0.3], [-0.4, 0.2], [0.7, 1.0]])},
        scaling={"inputs": 1},
        differentiable=False,  # a count
    ),
    Call(plateau.gaussian_cosine, {"mean_over_std": np.array([0.5, 2.0])}),
    Call(
        plateau.mode_cosine,
        {"amplitudes": np.array([[1.0, 0.5], [0.2, 0.9]]), "inputs": np.array([[1.0, 0.3], [-0.4, 0.2], [0.7, 1.0]])},
        scaling={"inputs": 1},
    ),
]
