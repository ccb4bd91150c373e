"""Exponents of a first step against networks of two widths in numpy, the symmetry of parametrisations, and known cases."""

import numpy as np
import pytest

from closedform.theory.feature_learning import width_scaling
from closedform.theory.feature_learning.width_scaling import Scaling
from zoo.calls import Call
from zoo.checks import rejected

NAMES = ("standard", "mean_field", "maximal_update")


def exponents(name, depth):
    return width_scaling.exponents(width_scaling.scaling(name, depth))


def first_step(rng, scaling, n, rate=0.01, dim=8):
    """rms of h and of its change by one step on one example with derivative 1 of the loss, by hand, all layers."""
    a, b, c = (np.asarray(part) for part in scaling)
    last = len(a) - 1
    sizes = [dim, *[n] * last, 1]
    w = [rng.normal(size=(sizes[k + 1], sizes[k])) * float(n) ** -b[k] for k in range(last + 1)]
    weights = [float(n) ** -a[k] * w[k] for k in range(last + 1)]
    x = rng.normal(size=dim)
    x = x / np.linalg.norm(x)

    def forward(weights):
        y, layers = x, []
        for weight in weights:
            layers.append(weight @ y)
            y = np.tanh(layers[-1])
        return layers

    before = forward(weights)
    inputs = [x, *map(np.tanh, before[:-1])]
    delta = [np.ones(1)]
    for k in range(last, 0, -1):
        delta.insert(0, (weights[k].T @ delta[0]) / np.cosh(before[k - 1]) ** 2)
    # w moves by rate n^-c times the gradient n^-a delta y, and W by n^-a of it
    moved = [weights[k] - rate * float(n) ** (-c[k] - 2 * a[k]) * np.outer(delta[k], inputs[k]) for k in range(last + 1)]
    rms = lambda parts: np.array([np.sqrt(np.mean(part**2)) for part in parts])  # noqa: E731
    return rms(before), rms(delta), rms([u - v for u, v in zip(forward(moved), before, strict=True)])


def assert_slopes(exponents_fn):
    """Between 80 and 400 units with two hidden layers; logarithms of means of squares over 16 networks."""
    for name in NAMES:
        scaling, found = width_scaling.scaling(name, 2), exponents_fn(name, 2)
        means = []
        for n in (80, 400):
            rng = np.random.default_rng(n)
            draws = [first_step(rng, scaling, n) for _ in range(16)]
            means.append([np.log(np.mean([draw[k] ** 2 for draw in draws], axis=0)) / 2 for k in range(3)])
        slopes = [(after - before) / np.log(5) for before, after in zip(*means, strict=True)]
        np.testing.assert_allclose(slopes[0][:2], found.preactivation[:2], atol=0.06)
        np.testing.assert_allclose(slopes[1], found.gradient, atol=0.08)
        np.testing.assert_allclose(slopes[2], found.change, atol=0.08)


def test_slopes_of_networks():
    assert_slopes(exponents)
    rejected(assert_slopes, lambda name, depth: exponents("maximal_update", depth))
    for field in ("preactivation", "gradient", "change"):
        rejected(assert_slopes, lambda name, depth, f=field: _shifted(exponents(name, depth), f))


def _shifted(found, field):
    """One power of the root of the width off, in the second layer."""
    return found._replace(**{field: getattr(found, field).at[1].add(0.5)})


def test_known_cases():
    np.testing.assert_array_equal(exponents("standard", 3).change, [-0.5, 0.5, 0.5, 1])
    for depth in (1, 2, 5):
        np.testing.assert_array_equal(exponents("maximal_update", depth).change, 0)
        np.testing.assert_array_equal(exponents("maximal_update", depth).preactivation, [0] * depth + [-0.5])
    # with one hidden layer the two are one
    for one, other in zip(exponents("mean_field", 1), exponents("maximal_update", 1), strict=True):
        np.testing.assert_array_equal(one, other)
    # the deep mean-field network moves nowhere by order 1
    np.testing.assert_array_equal(exponents("mean_field", 3).preactivation, [0, -0.5, -1, -1.5])
    np.testing.assert_array_equal(exponents("mean_field", 3).change, [-1, -0.5, -1, -1])


def test_a_factor_may_move_between_multiplier_deviation_and_rate():
    """a + t, b - t, c - 2 t is the same training; without the square of the multiplier in the step it is not."""

    def assert_symmetric(shift_of_rate):
        rng = np.random.default_rng(1)
        a, b, c = (np.asarray(part) for part in width_scaling.scaling("maximal_update", 3))
        t = rng.normal(size=len(a))
        moved = width_scaling.exponents(Scaling(a + t, b - t, c - shift_of_rate * t))
        for one, other in zip(moved, exponents("maximal_update", 3), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-12)

    assert_symmetric(2)
    rejected(assert_symmetric, 1)


def test_refused():
    with pytest.raises(ValueError, match="name must be one of standard, mean_field, maximal_update, got 'ntk'"):
        width_scaling.scaling("ntk", 2)
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        width_scaling.scaling("standard", 0)
    with pytest.raises(ValueError, match="scaling must have at least two layers, got 1"):
        width_scaling.exponents(Scaling([0.0], [0.0], [0.0]))


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

CALLS = [
    Call(width_scaling.scaling, {"name": "mean_field", "depth": 2}),
    # the larger of two powers: no derivative where they are equal, as in the scalings with names
    Call(
        width_scaling.exponents,
        {"scaling": Scaling(np.array([0.0, 0.5, 1.0]), np.array([0.1, 0.0, 0.2]), np.array([-1.0, -1.0, -1.0]))},
        differentiable=False,
    ),
]
