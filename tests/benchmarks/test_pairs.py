"""Rows in turn, their ratios, and tolerances found by bisection; the peers need not be installed."""

import numpy as np
import pytest

from closedform.benchmarks import deep_equilibrium, pairs


class Pool:
    """In place of a process: seconds of each key in turn."""

    def __init__(self, seconds):
        self.seconds, self.order = seconds, []

    def submit(self, function, key, repeats):
        assert function is pairs.measure
        self.order.append(key)
        return self

    def result(self):
        wall = self.seconds[self.order[-1]].pop(0)
        return wall, 2 * wall


def test_every_row_is_timed_right_after_the_first_and_divided_by_that_time():
    ours, theirs = Pool({"a": [1.0, 2.0, 4.0, 8.0], "c": [6.0, 4.0]}), Pool({"b": [3.0, 12.0]})
    times = pairs.in_turn({"jax": ours, "torch": theirs}, [("jax", "a"), ("torch", "b"), ("jax", "c")], 2, 5)
    assert ours.order == ["a", "a", "c", "a", "a", "c"]
    assert [one.wall for one in times] == [[], [3.0, 3.0], [3.0, 0.5]]
    assert times[0].seconds == [1.0, 2.0, 4.0, 8.0]
    assert times[1].cpu == times[1].wall
    shown = " ".join(pairs.columns(times[2]).split())
    assert shown == "4000.00 / 5000.00 / 6000.00 0.50 / 1.75 / 3.00 0.50 / 1.75 / 3.00"
    assert [len(one.seconds) for one in pairs.in_turn({"jax": Pool({"a": [1.0, 2.0]})}, [("jax", "a")], 2, 1)] == [2]


def test_what_is_kept_is_run_once_and_then_timed():
    calls = []
    pairs.keep("row", lambda: calls.append(1))
    wall, cpu = pairs.measure("row", 3)
    assert len(calls) == 4
    assert wall >= 0
    assert cpu >= 0


@pytest.mark.parametrize("largest", [-1, 0, 3, 15])
def test_the_loosest_tolerance_that_is_good_enough(largest):
    allowed = [unit * 1e-5 for unit in deep_equilibrium.TOLERANCES]
    tried = []

    def good(tolerance):
        tried.append(tolerance)
        return tolerance <= allowed[largest] if largest >= 0 else False

    assert deep_equilibrium.loosest(good, 1e-5) == allowed[largest]
    assert len(tried) <= 4
    assert sorted(allowed, reverse=True) == allowed


def test_the_gradient_that_all_rows_are_held_against():
    """Finite differences of <z, cotangent> in float64."""
    data = deep_equilibrium.problem(deep_equilibrium.Config(batch=3, width=4))
    weight, drive, cotangent = (data[name].astype(float) for name in ("weight", "drive", "cotangent"))

    def loss(weight, drive):
        z = np.zeros_like(drive)
        for _ in range(400):
            z = np.tanh(z @ weight + drive)
        return np.sum(z * cotangent)

    of_weight, of_drive = deep_equilibrium.exact_gradients(data)
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=weight.shape), rng.normal(size=drive.shape)
    slope = (loss(weight + 1e-6 * one, drive + 1e-6 * other) - loss(weight - 1e-6 * one, drive - 1e-6 * other)) / 2e-6
    np.testing.assert_allclose(np.sum(one * of_weight) + np.sum(other * of_drive), slope, rtol=1e-7)
    assert deep_equilibrium.largest_error((of_weight, 2 * of_drive), (of_weight, of_drive)) == pytest.approx(1)
