"""Chains are stochastic, walks are symmetric, four rooms have 104 cells, and random rewards have the moments that are said."""

import jax
import numpy as np
import pytest

from closedform.tasks import markov_chains
from zoo.checks import rejected

FREE = markov_chains.free_cells()
CHAINS = {
    "reset": markov_chains.reset_chain(12),
    "reflecting": markov_chains.reflecting_walk(12),
    "lazy": markov_chains.lazy_cycle((0.1, 0.5, 0.9)),
    "rooms": markov_chains.walk(FREE),
    "grid": markov_chains.walk(np.ones((3, 4), bool)),
    "one state": markov_chains.reset_chain(1),
    "one cell": markov_chains.walk(np.ones((1, 1), bool)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_rows_are_probabilities_and_walks_are_symmetric(name):
    P = CHAINS[name]
    assert P.min() >= 0
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-15)
    symmetric = name in ("reflecting", "rooms", "grid", "one state", "one cell")
    assert np.array_equal(P, P.T) == symmetric


def test_reset_chain_goes_right_or_back():
    P = CHAINS["reset"]
    np.testing.assert_allclose(P[:, 0], 0.05)
    np.testing.assert_allclose(np.diagonal(P, 1), 0.95)
    assert P[11, 11] == 0.95  # the last state stays
    np.testing.assert_array_equal(markov_chains.reset_chain(3, 1.0), [[1, 0, 0]] * 3)


def assert_walks(P, places):
    """Of the 104 cells, every one has a quarter for each free neighbour, and the rest for itself."""
    assert len(places) == 104
    for here, row in zip(places, P, strict=True):
        beside = np.abs(places - here).sum(axis=1) == 1
        np.testing.assert_allclose(row[beside], 0.25)
        np.testing.assert_allclose(row.sum() - row[beside].sum(), 1 - beside.sum() / 4)


def test_four_rooms():
    P, places = CHAINS["rooms"], markov_chains.places(FREE)
    assert_walks(P, places)
    rejected(assert_walks, P, places[::-1])
    moved = np.where(np.eye(104) > 0, 0, P)
    rejected(assert_walks, moved / moved.sum(axis=1, keepdims=True), places)  # walls divide the rest instead
    assert np.all(np.linalg.matrix_power(P, 200) > 0)  # four doors join the rooms


def test_stationary_distributions():
    stationary = jax.jit(markov_chains.stationary)
    np.testing.assert_allclose(stationary(CHAINS["reflecting"]), 1 / 12, rtol=1e-10)
    P, found = CHAINS["reset"], np.asarray(stationary(CHAINS["reset"]))
    np.testing.assert_allclose(found @ P, found, atol=1e-14)
    np.testing.assert_allclose(found.sum(), 1, rtol=1e-13)
    np.testing.assert_allclose(np.asarray(stationary(CHAINS["lazy"])) * [0.9, 0.5, 0.1], 9 / 118, rtol=1e-12)


def test_random_rewards():
    """Within four standard errors of 20000 tasks."""
    key = jax.random.key(0, impl="threefry2x32")
    draw = jax.jit(
        lambda key: (markov_chains.indicator_cumulants(key, 20000, 3, 0.3), markov_chains.gaussian_cumulants(key, 20000, 3))
    )
    g, normal = map(np.asarray, draw(key))
    assert set(np.unique(g)) == {0.0, 1.0}
    np.testing.assert_allclose(g.T @ g / 20000, 0.21 * np.eye(3) + 0.09, atol=4 * 0.46 / 20000**0.5)
    np.testing.assert_allclose(normal.T @ normal / 20000, np.eye(3), atol=4 * (2 / 20000) ** 0.5)


def test_what_makes_no_chain_is_refused():
    with pytest.raises(ValueError, match=r"^there must be at least 1 state, got 0$"):
        markov_chains.reset_chain(0)
    with pytest.raises(ValueError, match=r"^reset must be from 0 to 1, got 1\.5$"):
        markov_chains.reset_chain(3, 1.5)
    with pytest.raises(ValueError, match=r"^stay must be below 1 in every state, got \(0\.5, 1\.0\)$"):
        markov_chains.lazy_cycle((0.5, 1.0))
    with pytest.raises(ValueError, match=r"^stay must be from 0 to 1, got \(0\.5, nan\)$"):
        markov_chains.lazy_cycle((0.5, float("nan")))
    with pytest.raises(ValueError, match=r"^rows must be of one length, got lengths \[2, 1\]$"):
        markov_chains.free_cells(("##", "#"))
    with pytest.raises(ValueError, match=r"^there must be at least 1 state, got 0$"):
        markov_chains.walk(np.zeros((2, 2), bool))
