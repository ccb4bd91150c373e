"""Gauss rules and functions rounded correctly, against mpmath and scipy."""

import mpmath
import numpy as np
import pytest
from scipy import special

from closedform.theory.numerics import exact, quadrature
from zoo.checks import rejected


@pytest.mark.parametrize("num_nodes", [1, 2, 3, 12, 33, 80])
def test_gauss_rules_are_those_of_scipy(num_nodes):
    for rule, theirs in ((quadrature.legendre, special.roots_legendre), (quadrature.hermite, special.roots_hermitenorm)):
        (nodes, weights), (expected, shares) = rule(num_nodes), theirs(num_nodes)
        np.testing.assert_allclose(nodes, expected, rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(weights, shares / shares.sum(), rtol=1e-11)
        np.testing.assert_array_equal(nodes, -nodes[::-1])


def test_legendre_nodes_have_all_digits():
    nodes, weights = quadrature.legendre(24)
    with mpmath.workdps(40):
        roots = [mpmath.findroot(lambda t: mpmath.legendre(24, t), mpmath.mpf(node)) for node in nodes[12:].tolist()]
        slopes = [mpmath.diff(lambda t: mpmath.legendre(24, t), root) for root in roots]
        np.testing.assert_allclose(nodes[12:], [float(root) for root in roots], rtol=0, atol=1.2e-16)
        exact_ = [float(1 / ((1 - root**2) * slope**2)) for root, slope in zip(roots, slopes, strict=True)]
    np.testing.assert_allclose(weights[12:], exact_, rtol=1e-13)


def assert_exact_moments(gauss_fn):
    """A law between the two: steps b_r^2 = r, of which the moments are those of a normal number."""
    nodes, weights = gauss_fn(np.sqrt(np.arange(1.0, 8)))
    for power, moment in enumerate([1, 0, 1, 0, 3, 0, 15, 0, 105, 0, 945, 0, 10395, 0]):
        np.testing.assert_allclose(weights @ nodes**power, moment, rtol=1e-13, atol=1e-9)


def test_a_rule_is_exact_up_to_its_degree():
    assert_exact_moments(quadrature.gauss)
    rejected(assert_exact_moments, lambda steps: quadrature.gauss(steps[:-1]))  # one node less
    rejected(assert_exact_moments, lambda steps: quadrature.gauss(steps**2))


def test_exponentials_and_logarithms_are_rounded_correctly():
    x = np.random.default_rng(0).uniform(-700, 700, 200)
    with mpmath.workdps(50):
        np.testing.assert_array_equal(exact.exp(x), [float(mpmath.exp(value)) for value in x.tolist()])
        for value in np.abs(x).tolist():
            assert exact.log(value) == float(mpmath.log(value))
    np.testing.assert_array_equal(exact.exp(np.array([[-1e9, 0.0]])), [[0, 1]])
