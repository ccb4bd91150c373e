"""The strength of a contrastive mode against numerical integration, and its rests with weight decay against np.roots."""

import functools

import jax
import numpy as np
from scipy.integrate import solve_ivp

from closedform.theory.linear_networks import contrastive_modes
from zoo.calls import Call
from zoo.checks import rejected

# ------------------------------------------------------------------------------------------------------------ time course

MODES = np.array([(2, 0.3, 0.01), (1, 1, 0.1), (0.5, 0.05, 1.9), (1, 1, 0.7), (0.3, 1, 4.0), (0, 0.8, 0.5)])
TIMES = np.array([0.0, 0.3, 2.0, 9.0])


@functools.cache
def integrated():
    def velocity(_, b):
        S = MODES[:, 0] ** 2 + MODES[:, 1] ** 2
        return 8 * b**2 * (MODES[:, 0] ** 2 - S**2 * b**2)

    flow = solve_ivp(velocity, (0, 9), MODES[:, 2], "LSODA", TIMES, rtol=1e-11, atol=1e-13)
    return flow.y.T  # time mode


def assert_integrated(strength_fn):
    np.testing.assert_allclose(strength_fn(TIMES[:, None], *MODES.T), integrated(), rtol=1e-7)


def test_modes_follow_their_equation():
    """From below the end and from above it, and without signal; an oracle integrates db/dt numerically."""
    strength = jax.jit(contrastive_modes.mode_strength)
    assert_integrated(strength)
    rejected(assert_integrated, lambda t, *mode: strength(t / 2, *mode))  # 4 in place of 8: one layer that moves
    rejected(assert_integrated, lambda t, phi, sigma, b: strength(t, phi, sigma**2, b))
    rejected(assert_integrated, lambda t, phi, sigma, b: strength(t, phi, np.sqrt(sigma**2 + phi**2), b))  # noise for views
    rejected(assert_integrated, lambda t, phi, sigma, b: strength(t, phi, sigma, b**2))
    ends = MODES[:, 0] / (MODES[:, 0] ** 2 + MODES[:, 1] ** 2)
    np.testing.assert_allclose(strength(np.full((1, 1), np.inf), *MODES.T)[0], ends, rtol=1e-14, atol=1e-80)
    np.testing.assert_allclose(strength(np.zeros((1, 1)), *MODES.T)[0], MODES[:, 2], rtol=1e-14)
    rests = strength(np.full((1, 1), 5.0), np.ones(6), np.ones(6), np.array([0, 0.5] * 3))[0]
    np.testing.assert_array_equal(rests, [0, 0.5] * 3)  # the latter is the end


def test_the_time_is_the_inverse_of_the_strength():
    time = jax.jit(contrastive_modes.mode_time)
    phi, sigma, start = MODES[:5].T
    np.testing.assert_allclose(time(integrated()[:3, :5], phi, sigma, start) - TIMES[:3, None], 0, atol=1e-5)
    found = time(np.array([[0.05, 0, 0.5, 0.6, 0.1, 0.5]]), 1.0, 1.0, np.array([0.1, 0.1, 0.1, 0.1, 0.5, 0.5]))[0]
    assert found[0] < 0
    np.testing.assert_array_equal(found[1:], [-np.inf, np.inf, np.inf, np.inf, 0])
    # a small start takes off at 1/(8 phi^2 b(0)), up to terms of order 1
    late = contrastive_modes.switch_time(1.0, 1e-6) / time(0.25, 1.0, 1.0, 1e-6)
    np.testing.assert_allclose(late, 1, rtol=1e-5)
    rejected(np.testing.assert_allclose, 2 * late, 1, 1e-5)


def test_the_time_course_in_extreme_sizes():
    """A start of 1e-9 takes 1/(8 b(0)); far above its end a mode falls as (24 S^2 t)^(-1/3), in both precisions."""
    strength = jax.jit(contrastive_modes.mode_strength)
    shares = np.array([0, 0.5, 0.9, 0])
    for dtype, rtol in ((np.float64, 1e-10), (np.float32, 1e-3)):
        times = np.array([*(shares[:3] / 8e-9), 1e-9]).astype(dtype)
        found = strength(times, np.ones(4, dtype), np.zeros(4, dtype), np.array([1e-9, 1e-9, 1e-9, 1e9], dtype))
        np.testing.assert_allclose(found[:3], 1e-9 / (1 - shares[:3]), rtol=rtol)
        np.testing.assert_allclose(found[3], (24e-9) ** (-1 / 3), rtol=3e-6)
        assert found.dtype == dtype


# ------------------------------------------------------------------------------------------------------- weight decay


def assert_roots(roots_fn):
    for phi, sigma, decay in ((2, 0.3**0.5, 0.3), (1, 0.2**0.5, 0.3), (0.5, 0.05**0.5, 0.3), (1, 1, 1e-9), (3, 0.1, 2.0)):
        S = phi**2 + sigma**2
        real = [root.real for root in np.roots([4 * S**2, 0, -4 * phi**2, 2 * decay]) if abs(root.imag) < 1e-12]
        np.testing.assert_allclose(roots_fn(phi, sigma, decay), sorted(root for root in real if root > 0)[::-1], rtol=1e-9)


def test_weight_decay():
    """The strongest mode ends at 0.4451, the second lies below its barrier 0.155 and ends at 0, or at 0.7447 from above."""
    roots = jax.jit(contrastive_modes.decay_roots)
    assert_roots(roots)
    rejected(assert_roots, lambda phi, sigma, decay: roots(phi, sigma, 2 * decay))  # half the loss
    rejected(assert_roots, lambda phi, sigma, decay: roots(phi, sigma, decay / 2))  # a penalty with a factor 1/2
    rejected(assert_roots, lambda phi, sigma, decay: tuple(roots(phi, sigma, decay))[::-1])
    signals, noise = np.array([2, 1, 0.5]), np.sqrt([0.3, 0.2, 0.05])
    np.testing.assert_allclose(contrastive_modes.decayed_strength(0.09, signals, noise, 0.3), [0.4451, 0, 0], atol=5e-5)
    stable, barrier = contrastive_modes.decay_roots(1.0, noise[1], 0.3)
    np.testing.assert_allclose([stable, barrier], [0.7447, 0.155], atol=5e-4)
    assert float(contrastive_modes.decayed_strength(barrier, 1.0, noise[1], 0.3)) == float(barrier)


def assert_critical(critical_fn):
    """Both roots exist below the critical weight decay, none above, and at it they meet at phi/(sqrt 3 S)."""
    phi, sigma = np.array([2.0, 1.0, 0.3]), np.array([0.1, 1.0, 0.5])
    critical = np.asarray(critical_fn(phi, sigma))
    for share, number in ((0.999, 2), (1.001, 0)):
        for f, s, decay in zip(phi, sigma, share * critical, strict=True):
            found = np.roots([4 * (f**2 + s**2) ** 2, 0, -4 * f**2, 2 * decay])
            assert sum(abs(found.imag) < 1e-12) == number + 1


def test_the_critical_weight_decay():
    critical = contrastive_modes.critical_weight_decay
    assert_critical(critical)
    rejected(assert_critical, lambda phi, sigma: 2 * critical(phi, sigma))
    rejected(assert_critical, lambda phi, sigma: critical(phi, 0 * sigma))
    edge = contrastive_modes.decay_roots(1.0, 1.0, critical(1.0, 1.0))
    np.testing.assert_allclose(edge, 0.5 / np.sqrt(3), rtol=1e-7)
    np.testing.assert_array_equal(contrastive_modes.decay_roots(1.0, 1.0, 1.0), [0, np.inf])
    np.testing.assert_array_equal(contrastive_modes.decay_roots([0.0, 0.0], 1.0, [0.0, 1.0]), [[0, 0], [np.inf, np.inf]])
    np.testing.assert_allclose(contrastive_modes.decay_roots(1.0, 1.0, 0.0), [0.5, 0], rtol=1e-15)
    assert critical(0.0, 0.0) == 0


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


MODE = {"signal": np.array([1.2, 0.6]), "noise_std": np.array([0.3, 0.9]), "initial": np.array([0.1, 1.5])}
CALLS = [
    Call(contrastive_modes.end_strength, {"signal": 1.2, "noise_std": 0.3}, scaling={"signal": 1, "noise_std": 1}, degree=-1),
    Call(contrastive_modes.mode_strength, {"time": np.array([0.4, 1.1]), **MODE}),
    Call(contrastive_modes.mode_time, {"strength": np.array([0.3, 1.1]), **MODE}),
    Call(contrastive_modes.switch_time, {"signal": 1.2, "initial": 0.1}, scaling={"initial": 1}, degree=-1),
    Call(
        contrastive_modes.critical_weight_decay,
        {"signal": 1.2, "noise_std": 0.3},
        scaling={"signal": 1, "noise_std": 1},
        degree=1,
    ),
    Call(
        contrastive_modes.decay_roots, {"signal": np.array([1.2, 0.6]), "noise_std": 0.3, "weight_decay": np.array([0.2, 0.1])}
    ),
    Call(
        contrastive_modes.decayed_strength,
        {
            "initial": np.array([0.4, 0.01]),
            "signal": np.array([1.2, 0.6]),
            "noise_std": 0.3,
            "weight_decay": np.array([0.2, 0.1]),
        },
    ),
]
