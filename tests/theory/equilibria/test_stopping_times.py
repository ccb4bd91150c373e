"""Steps and times against iterations of scalars, and the evaluations of an adaptive solver against scipy's."""

import numpy as np
import scipy.integrate

from closedform.theory.equilibria import stopping_times
from zoo.calls import Call
from zoo.checks import rejected


def counted(alpha, tolerance, start=1.0):
    u, steps = start, 0
    while abs(u) > tolerance:
        u, steps = alpha * u, steps + 1
    return steps


def assert_steps(steps_fn):
    assert counted(-0.9, 1e-6) == 132
    for alpha, tolerance, start in ((-0.9, 1e-6, 1.0), (0.9, 1e-6, 1.0), (0.5, 1e-3, 40.0), (0.99, 0.3, 7.0)):
        assert np.ceil(float(steps_fn(abs(alpha), tolerance, start))) == counted(alpha, tolerance, start)


def test_steps_of_an_iteration():
    steps = stopping_times.iteration_steps
    assert_steps(steps)
    rejected(assert_steps, lambda rho, tolerance, start: steps(rho**2, tolerance, start))
    rejected(assert_steps, lambda rho, tolerance, start: steps(rho, tolerance))
    assert steps(1.0, 1e-3) == steps(3.0, 1e-3) == np.inf
    assert steps(3.0, 1e-3, 1e-4) == steps(0.9, 1e-3, 1e-4) == 0


def test_time_of_the_flow():
    for alpha, expected in ((0.9, 138.16), (-0.9, 7.27)):
        time = float(stopping_times.flow_time(1 - alpha, 1e-6))
        np.testing.assert_allclose(time, expected, atol=5.1e-3)
        np.testing.assert_allclose(np.exp((alpha - 1) * time), 1e-6, rtol=1e-12)
    assert stopping_times.flow_time(-0.1, 1e-6) == stopping_times.flow_time(0.0, 1e-6) == np.inf
    assert stopping_times.flow_time(-0.1, 1e-6, 1e-7) == 0


def test_steps_that_a_skip_start_saves():
    far, near = counted(0.9, 1e-8, 1.0), counted(0.9, 1e-8, 0.9**50.5)
    np.testing.assert_allclose(stopping_times.skipped_steps(0.9, 1.0, 0.9**50.5), 50.5, rtol=1e-12)
    assert abs(far - near - 50.5) < 1
    np.testing.assert_allclose(stopping_times.skipped_steps(0.9, 1.0, 1 / 0.9), -1, rtol=1e-12)
    assert stopping_times.skipped_steps(1.1, [1.0, 1.0, 1.0], [0.5, 1.0, 2.0]).tolist() == [np.inf, 0, -np.inf]


def assert_evaluations(evaluations_fn):
    """Heuristic: scipy's RK23 (three new stages a step, S = 2.51) within a third, for stiff and mild spectra.

    Its tolerance is loose, so that stability limits the step, and absolute: the error falls far below it.
    """
    for low, high in ((-30.0, 0.5), (-300.0, 0.0), (-80.0, -3.0)):
        spectrum = np.array([low, (low + high) / 2, high])

        def near(t, z):
            return np.abs(z).max() - 1e-8

        near.terminal = True
        run = scipy.integrate.solve_ivp(
            lambda t, z, spectrum=spectrum: (spectrum - 1) * z, (0, 1e4), np.ones(3), "RK23", rtol=0.05, atol=1e-12, events=near
        )
        predicted = float(evaluations_fn(low, high, 1e-8, 1.0, 3.0, 2.5127))
        assert 0.75 < run.nfev / predicted < 1.33, run.nfev / predicted


def test_evaluations_of_an_explicit_solver():
    evaluations = stopping_times.explicit_evaluations
    assert_evaluations(evaluations)
    rejected(assert_evaluations, lambda low, high, *rest: evaluations(high, high, *rest))
    rejected(
        assert_evaluations, lambda low, high, tolerance, distance, s, S: evaluations(low, high, tolerance, distance, 1.0, S)
    )
    rejected(assert_evaluations, lambda low, high, *rest: evaluations(low, (low + high) / 2, *rest))


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

CALLS = [
    Call(stopping_times.iteration_steps, {"factor": np.array([0.3, 0.9]), "tolerance": 1e-3, "distance": 2.0}),
    Call(stopping_times.flow_time, {"rate": np.array([0.3, 1.9]), "tolerance": 1e-3, "distance": 2.0}),
    Call(
        stopping_times.explicit_evaluations,
        {"low": -3.0, "high": 0.5, "tolerance": 1e-3, "distance": 2.0, "stages": 4.0, "stability": 2.785},
        edges={"low": [-1e6, 0.5], "high": [0.999999]},
    ),
    Call(stopping_times.skipped_steps, {"factor": np.array([0.3, 0.9]), "distance": 2.0, "skip_distance": 0.5}),
]
