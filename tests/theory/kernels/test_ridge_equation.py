"""The self-consistent equation of ridge regression: its steps are held by the tests of what is made of them."""

import jax.numpy as jnp
import numpy as np

from closedform.theory.kernels import ridge_equation
from closedform.theory.kernels.spectrum import Spectrum
from zoo.checks import rejected


def assert_root(trace_fn):
    """g u w = ridge, with h as the docstring gives it; as samples and features are equally many, or either is fewer."""
    eigenvalues, counts, tail = np.array([1.0, 0.1, 3e-3]), np.array([2.0, 16.0, 60.0]), 2e-3
    spectrum = Spectrum(jnp.asarray(eigenvalues), jnp.asarray(counts), jnp.asarray(tail))
    for n, k, ridge in ((30.0, 80.0, 0.1), (80.0, 30.0, 0.1), (50.0, 50.0, 0.02), (20.0, np.inf, 1e-3)):
        p = min(n, k)
        a, b = p / n, p / k
        g = float(trace_fn(jnp.asarray(p), jnp.asarray(ridge * a), spectrum, (a, 1 - a), (b, 1 - b)))
        h = 1 - (np.sum(counts * p * eigenvalues / (p * eigenvalues + g)) + p * tail / g) / p
        np.testing.assert_allclose(g * (a * h + 1 - a) * (b * h + 1 - b), ridge * a, rtol=1e-11)


def test_balanced_trace_solves_its_equation():
    assert_root(ridge_equation.balanced_trace)
    rejected(assert_root, lambda size, ridge, *rest: ridge_equation.balanced_trace(size, 2 * ridge, *rest))
    rejected(assert_root, lambda size, ridge, modes, a, b: ridge_equation.balanced_trace(size, ridge, modes, b, b))


CALLS = []
SHARED = "a part of a calculation; learning_curve, risk, grouped_risk and given_data hold its values"
NOT_NUMERIC = {
    getattr(ridge_equation, name): SHARED
    for name in (
        "smallest_ridge",
        "at_least_ridge",
        "zero_or",
        "infinite_or",
        "in_units",
        "rates",
        "left_over",
        "unlearned",
        "balanced_trace",
    )
}
