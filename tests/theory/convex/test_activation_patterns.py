"""Counts of activation patterns against enumeration and whole numbers; the scenario bound against its two branches."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.theory.convex import activation_patterns
from zoo.calls import Call
from zoo.checks import rejected
from zoo.convex_problems import enumerate_patterns
from zoo.formula_data import FACTS, formula_data


@pytest.fixture(scope="module", params=FACTS, ids=str)
def problem(request):
    x, y = formula_data(*request.param)
    return x, y, enumerate_patterns(x), *FACTS[request.param]


def assert_counts(pattern_count_fn):
    rng = np.random.default_rng(0)
    for n, d in ((1, 1), (5, 1), (6, 2), (7, 3), (6, 5), (5, 5), (4, 6)):
        x = rng.normal(size=(n, d))
        count = enumerate_patterns(x).shape[1] if d <= n else 2**n  # every sign choice is solvable for independent rows
        assert float(pattern_count_fn(n, d)) == count
    for (n, d), (count, _, _) in FACTS.items():
        assert float(pattern_count_fn(n, d)) == count
    assert float(pattern_count_fn(9, 4)) == 186
    assert float(pattern_count_fn(200, 6)) == 2 * sum(math.comb(199, k) for k in range(6))  # exact in float64


def test_pattern_count_is_that_of_enumeration():
    assert_counts(activation_patterns.pattern_count)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda n, r: 2 * sum(math.comb(n, k) for k in range(r)),  # n in place of n - 1
        lambda n, r: 2 * sum(math.comb(n - 1, k) for k in range(r + 1)),  # affine in place of linear functions
        lambda n, r: sum(math.comb(n - 1, k) for k in range(r)),  # u and -u taken for one
        lambda n, r: 2 * math.comb(n - 1, r - 1),  # the last term alone
    ],
)
def test_wrong_counts_are_rejected(wrong):
    rejected(assert_counts, wrong)


def test_enumeration_finds_the_patterns_of_the_facts(problem):
    x, _, patterns, count, *_ = problem
    assert patterns.shape[1] == count
    directions = np.random.default_rng(0).normal(size=(x.shape[1], 5000))
    seen = {tuple(column) for column in (x @ directions >= 0).T.astype(float)}
    assert seen <= {tuple(column) for column in patterns.T}


def test_pattern_bound_is_above_the_count():
    for r in (1, 2, 3, 5, 8):
        n = jnp.arange(max(r, 2), 60)
        count = jax.vmap(lambda n, r=r: activation_patterns.pattern_count(n, r))(n)
        bound = jax.vmap(lambda n, r=r: activation_patterns.pattern_bound(n, r))(n)
        assert bool(jnp.all(bound >= count))
        np.testing.assert_allclose(bound, 2 * r * (math.e * (np.asarray(n) - 1) / r) ** r, rtol=1e-13)


def assert_scenario_bound(scenario_bound_fn):
    np.testing.assert_allclose(scenario_bound_fn(10, 0.1, 0.1), 266.0517, atol=5e-5)
    np.testing.assert_allclose(scenario_bound_fn(10, 0.01, 0.1), 20 * (11 + math.log(100)), rtol=1e-12)
    np.testing.assert_allclose(scenario_bound_fn(10, 0.9, 0.8), 11 / 0.72 - 1, rtol=1e-12)  # the other branch


def test_scenario_bound():
    assert_scenario_bound(activation_patterns.scenario_bound)
    for wrong in (
        lambda n, psi, xi: activation_patterns.scenario_bound(n, xi, psi),  # the roles swapped
        lambda n, psi, xi: activation_patterns.scenario_bound(n - 1, psi, xi),  # n dual variables
        lambda n, psi, xi: 2 / xi * (n + 1 - math.log(psi)),  # one branch
        lambda n, psi, xi: 1 / xi * (n + 1 - math.log(psi)),  # without the 2
    ):
        rejected(assert_scenario_bound, wrong)


def test_counts_at_the_ends():
    for n, rank in ((1, 1), (1, 7), (50, 26), (58, 20), (52, 51), (51, 100)):
        exact = 2 * sum(math.comb(n - 1, k) for k in range(rank))
        assert float(activation_patterns.pattern_count(n, rank)) == exact < 2**52
    np.testing.assert_allclose(
        activation_patterns.pattern_count(10**9, 3), 2 * sum(math.comb(10**9 - 1, k) for k in range(3)), rtol=1e-15
    )
    for n, rank in ((2000, 3000), (1e300, 3), (math.inf, 2)):
        assert float(activation_patterns.pattern_count(n, rank)) == math.inf
    assert float(activation_patterns.pattern_count(math.inf, 1)) == 2
    for function, n, rank in (
        (activation_patterns.pattern_count, 0, 1),
        (activation_patterns.pattern_count, math.nan, 1),
        (activation_patterns.pattern_count, 5, 0),
        (activation_patterns.pattern_bound, 2, 3),
    ):
        with pytest.raises(ValueError, match=r"^(num_samples|rank) must be at least"):
            function(n, rank)


def test_scenario_bound_at_tiny_probabilities():
    psi = xi = 1e-200
    slopes = jax.grad(activation_patterns.scenario_bound, argnums=(0, 1))(10.0, psi, 1e-3)
    np.testing.assert_allclose(activation_patterns.scenario_bound(10, psi, xi), 2 / xi * (11 - math.log(psi)), rtol=1e-14)
    np.testing.assert_allclose(slopes, (2e3, -2e3 / psi), rtol=1e-14)


@pytest.mark.slow
def test_dtype_follows_the_input():
    scalar = jnp.float32(0.1)
    results = (
        activation_patterns.pattern_count(100 * scalar, 3),
        activation_patterns.pattern_bound(100 * scalar, 3),
        activation_patterns.scenario_bound(10, scalar, 0.1),
    )
    assert {leaf.dtype for leaf in results} == {scalar.dtype}


CALLS = [
    Call(
        activation_patterns.pattern_count, {"num_samples": 10.0, "rank": 3}, cases=[{"num_samples": 3.0}, {"num_samples": 1e9}]
    ),
    Call(
        activation_patterns.pattern_bound,
        {"num_samples": 10.0, "rank": 3},
        edges={"num_samples": [3.0, math.inf]},
        draw=lambda rng: {"num_samples": 3 + 10 ** rng.uniform(-2, 9)},
    ),
    Call(
        activation_patterns.scenario_bound,
        {"num_samples": 10.0, "psi": 0.1, "xi": 0.1},
        cases=[{"psi": 1e-12}, {"psi": 1e-30, "xi": 1e-20}, {"psi": 0.9}, {"psi": 0.9, "xi": 1e-12}],
    ),
]
