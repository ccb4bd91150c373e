"""Basis pursuit against linear programming, its two bounds, rows that are left out, and what is refused."""

import jax
import numpy as np
import pytest
import scipy.optimize

from closedform.solvers import basis_pursuit
from zoo.checks import rejected

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((4, 9)), RNG.standard_normal(4)
solve = jax.jit(lambda x, y: basis_pursuit.solve(x, y, rtol=1e-9))


def test_optimum():
    split = np.concatenate([X, -X], axis=1)  # w = positive part - negative part
    program = scipy.optimize.linprog(np.ones(18), A_eq=split, b_eq=Y)
    found = solve(X, Y)

    def assert_optimal(weights):
        np.testing.assert_allclose(X @ weights, Y, atol=1e-10)
        np.testing.assert_allclose(np.sum(np.abs(weights)), program.fun, rtol=1e-7)

    assert_optimal(np.asarray(found.weights))
    rejected(assert_optimal, np.linalg.pinv(X) @ Y)  # the shortest in l2
    np.testing.assert_allclose(found.weights, program.x[:9] - program.x[9:], atol=1e-6)
    assert found.bound <= program.fun * (1 + 1e-12) <= found.objective * (1 + 2e-12)
    assert found.objective - found.bound <= 1e-9 * found.objective
    np.testing.assert_allclose(solve(X, 1e6 * Y).weights, 1e6 * np.asarray(found.weights), rtol=1e-6, atol=1)


def test_rows_of_zeros_are_left_out():
    kept = np.array([1.0, 0.0, 1.0, 1.0])
    masked, alone = solve(kept[:, None] * X, Y), basis_pursuit.solve(X[kept > 0], Y[kept > 0], rtol=1e-9)
    np.testing.assert_allclose(masked.weights, alone.weights, atol=1e-7)
    np.testing.assert_array_equal(solve(X, 0 * Y).weights, 0)


def test_refusals():
    with pytest.raises(ValueError, match=r"^y "):
        basis_pursuit.solve(X, Y[:3])
    with pytest.raises(ValueError, match=r"^threshold must be above 0 and finite, got 0\.0$"):
        basis_pursuit.solve(X, Y, threshold=0.0)
