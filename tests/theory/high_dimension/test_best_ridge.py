"""The best ridge against a search by scipy, the recorded numbers and the least error of any method."""

import jax
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from closedform.theory.high_dimension import bayes_optimal, convex_learning, losses
from closedform.theory.high_dimension.best_ridge import best_ridge
from closedform.theory.high_dimension.label_channels import Labels
from zoo.calls import Call
from zoo.checks import rejected

NOISY = Labels(noise_std=0.5)
RECORDED = {  # at three samples a dimension: ridge and error
    "LOGISTIC": (0.111104797, 0.179077285),
    "SQUARED_HINGE": (0.584042673, 0.179942644),
    "SQUARE": (0.963495415, 0.182984160),
    "HINGE": (0.347100766, 0.192458559),
}


def assert_recorded(name, best):
    ridge, error = RECORDED[name]
    np.testing.assert_allclose(best.ridge, ridge, rtol=1e-5)  # the records are a search in the error, flat at its least
    np.testing.assert_allclose(best.error, error, rtol=1e-8)
    least = bayes_optimal.error(bayes_optimal.overlap(3.0, 1.0, 0.5), 1.0, 0.0)
    np.testing.assert_allclose(least, 0.179022532, rtol=1e-8)
    assert best.error > least


@pytest.mark.parametrize(
    "name", [name if name == "SQUARE" else pytest.param(name, marks=pytest.mark.slow) for name in RECORDED]
)
def test_recorded_numbers(name):
    best = best_ridge(3.0, getattr(losses, name), NOISY)
    assert_recorded(name, best)
    rejected(assert_recorded, name, best._replace(ridge=best.ridge / 3))  # not divided by n/d


@pytest.mark.slow
def test_it_is_the_least_of_a_search():
    def error(log_ridge):
        return float(convex_learning.solve(1.5, np.exp(log_ridge), losses.LOGISTIC, Labels(2.0, 0.3, 0.1)).error)

    found = minimize_scalar(error, bracket=(-4.0, 1.0), tol=1e-10)
    best = best_ridge(1.5, losses.LOGISTIC, Labels(2.0, 0.3, 0.1))
    np.testing.assert_allclose(np.log(best.ridge), found.x, atol=1e-4)
    np.testing.assert_allclose(best.error, found.fun, rtol=1e-9)


@pytest.mark.slow
def test_derivatives_are_those_of_the_implicit_function():
    def ridge(ratio):
        return best_ridge(ratio, losses.LOGISTIC, NOISY).ridge

    slope = (ridge(3.01) - ridge(2.99)) / 0.02
    np.testing.assert_allclose(jax.jacfwd(ridge)(3.0), slope, rtol=1e-3)


CALLS = [
    Call(
        lambda ratio, teacher: best_ridge(ratio, losses.SQUARE, teacher),
        {"ratio": 3.0, "teacher": Labels(1.0, 0.5, 0.05)},
        of=best_ridge,
        single=lambda arguments: False,  # a flat minimum, as the docstring says
        differentiable=False,  # by the test above
    )
]
