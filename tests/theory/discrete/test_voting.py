"""Majorities against counts of all outcomes, exact fractions and scipy; the numbers of the model; mistakes that must fail."""

import itertools
from fractions import Fraction

import jax
import numpy as np
import pytest
from scipy import stats

from closedform.theory.discrete import voting
from zoo.calls import Call
from zoo.checks import rejected

majority, beta_binomial = (jax.jit(fn, static_argnums=0) for fn in (voting.majority, voting.beta_binomial_majority))
discussion = jax.jit(voting.discussion, static_argnums=(0, 1))
weighted = jax.jit(voting.weighted_majority)

# --- counts of all outcomes -------------------------------------------------------------------------------------------------


def share(margin):
    """1, 1/2 and 0: won, tied and lost."""
    return (1 + np.sign(margin)) / 2


def outcomes(n):
    """All votes of n voters, 1 and -1."""
    return np.array(list(itertools.product((1, -1), repeat=n)))


def chance(votes, p):
    return np.prod(np.where(votes > 0, p, 1 - np.asarray(p)), axis=-1)


def assert_counts_all_votes(majority_fn):
    sizes, p = np.arange(1, 6)[:, None], np.array([0.0, 0.3, 0.6, 1.0])
    expected = [[chance(outcomes(n), one) @ share(outcomes(n).sum(1)) for one in p] for n in range(1, 6)]
    np.testing.assert_allclose(majority_fn(sizes, p), expected, rtol=1e-13, atol=1e-16)


def test_majority():
    assert_counts_all_votes(voting.majority)
    rejected(assert_counts_all_votes, lambda n, p: stats.binom.sf(n // 2, n, p))  # ties lost
    rejected(assert_counts_all_votes, lambda n, p: stats.norm.cdf((2 * p - 1) * np.sqrt(n)))


def assert_is_a_majority_of_majorities(tree_fn):
    votes = outcomes(9)
    three = np.sign(np.sign(votes.reshape(-1, 3, 3).sum(2)).sum(1))
    np.testing.assert_allclose(tree_fn(2, 3, 0.6), chance(votes, 0.6) @ share(three), rtol=1e-13)


def test_tree():
    assert_is_a_majority_of_majorities(voting.tree_majority)
    rejected(assert_is_a_majority_of_majorities, lambda k, b, p: voting.majority(b**k, p))
    rejected(assert_is_a_majority_of_majorities, lambda k, b, p: voting.tree_majority(b, k, p))


def assert_hears_the_others(discussion_fn):
    """All first votes, then all fresh votes of the second layer, then all second votes: coins by their share."""
    weights = np.array([0.0, 1.0, 2.0, 3.0, 9.0])
    for n, m in ((4, 3), (5, 2)):
        first, second, expected = outcomes(n), outcomes(m), []
        for w in weights:
            right = share(first.sum(1)[:, None, None] + w * second)  # first fresh voter
            law = np.prod(np.where(second[:, None, None] > 0, right, 1 - right), axis=-1)  # second first fresh
            expected.append(share(second.sum(1)) @ (law @ chance(second, 0.6)) @ chance(first, 0.6))
        np.testing.assert_allclose(discussion_fn(n, m, 0.6, weights), expected, rtol=1e-12)


def test_discussion():
    assert_hears_the_others(discussion)
    rejected(assert_hears_the_others, lambda n, m, p, w: discussion(n, m, p, w + 1))
    rejected(assert_hears_the_others, lambda n, m, p, w: discussion(n, m + 1, p, w))


def test_weighted_majority():
    competence, votes = np.array([0.9, 0.7, 0.6, 0.55]), outcomes(4)
    for weights in ([1.0, 1.0, 1.0, 1.0], [2.0, 1.0, 1.0, 0.0], [0.3, 0.1, 0.2, 0.4], [-1.0, 2.0, 0.5, 0.25]):
        expected = chance(votes, competence) @ share(np.round(votes @ weights, 9))
        np.testing.assert_allclose(weighted(competence, np.array(weights)), expected, rtol=1e-14)
    best = weighted(competence, voting.best_weights(competence))
    bayes = np.maximum(chance(votes, competence), chance(-votes, competence)).sum() / 2
    np.testing.assert_allclose(best, bayes, rtol=1e-14)
    assert weighted(competence, competence) < best - 1e-3  # p in place of ln p/(1 - p)
    expert = np.array([0.9, 0.6, 0.6, 0.6, 0.6])
    np.testing.assert_allclose(weighted(expert, voting.best_weights(expert)), 0.9, rtol=1e-14)
    np.testing.assert_allclose(weighted(expert, np.ones(5)), 0.78624, rtol=1e-13)
    with pytest.raises(ValueError, match=r"^weights must be of at most 20 votes, got 21$"):
        voting.weighted_majority(np.full(21, 0.6), np.ones(21))


# --- exact fractions, and scipy ---------------------------------------------------------------------------------------------


def urn(n, mean, rho):
    """Probabilities of 0 to n right votes, drawn one by one from Polya's urn."""
    law = [Fraction(1)]
    for j in range(n):
        right = [(mean * (1 - rho) + k * rho) / (1 - rho + j * rho) for k in range(j + 1)]
        stay, rise = [a * (1 - b) for a, b in zip(law, right, strict=True)], [a * b for a, b in zip(law, right, strict=True)]
        law = [a + b for a, b in zip([*stay, 0], [0, *rise], strict=True)]
    return law


def assert_draws_from_the_urn(majority_fn):
    sizes = (1, 2, 3, 4, 9, 22)
    for mean, rho in ((Fraction(3, 5), Fraction(1, 5)), (Fraction(1, 4), Fraction(1, 2)), (Fraction(9, 10), Fraction(0))):
        laws = [enumerate(urn(n, mean, rho)) for n in sizes]
        exact = [sum(x * ((2 * k > n) + Fraction(2 * k == n, 2)) for k, x in law) for n, law in zip(sizes, laws, strict=True)]
        found = majority_fn(sizes, float(mean), float(rho))
        np.testing.assert_allclose(found, [float(one) for one in exact], rtol=1e-13)


def test_beta_binomial():
    assert_draws_from_the_urn(beta_binomial)
    rejected(assert_draws_from_the_urn, lambda n, mean, rho: beta_binomial(n, mean, rho / (1 + rho)))
    rejected(assert_draws_from_the_urn, lambda n, mean, rho: majority(n, mean))


def assert_is_the_share_of_easy_questions(limit_fn):
    mean, rho = np.meshgrid([1e-6, 0.3, 0.4999, 0.5, 0.6, 0.99], [1e-9, 1e-4, 0.05, 0.2, 0.9, 0.999])
    size = 1 / rho - 1
    np.testing.assert_allclose(limit_fn(mean, rho), stats.beta.sf(0.5, mean * size, (1 - mean) * size), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(limit_fn(mean, rho)[3, 4], 0.672407, rtol=0, atol=1e-6)
    np.testing.assert_allclose(limit_fn(mean, 0 * rho)[0], [0, 0, 0, 0.5, 1, 1], atol=1e-15)  # a step
    np.testing.assert_allclose(limit_fn(mean, 0 * rho + 1)[0], mean[0], rtol=1e-15)  # one vote


def test_infinitely_many_votes():
    limit = jax.jit(voting.beta_binomial_limit)
    assert_is_the_share_of_easy_questions(limit)
    rejected(assert_is_the_share_of_easy_questions, lambda mean, rho: limit(mean, rho / (1 + rho)))


def test_ten_thousand_votes():
    p = np.array([0.1, 0.49, 0.501, 0.6])
    np.testing.assert_allclose(majority(10_001, p), stats.binom.sf(5000, 10_001, p), rtol=1e-11)  # the oracle's accuracy
    np.testing.assert_allclose(beta_binomial(10_001, p, 0.0), majority(10_001, p), rtol=0, atol=1e-13)
    correlated = stats.betabinom.sf(5000, 10_001, 4 * p, 4 * (1 - p))
    np.testing.assert_allclose(beta_binomial(10_001, p, 0.2), correlated, rtol=1e-9)  # likewise


# --- the numbers of the model -----------------------------------------------------------------------------------------------


def test_depth_loses():
    np.testing.assert_allclose(voting.majority([9, 27], 0.6), [0.7334323, 0.8553482], rtol=0, atol=1e-7)
    np.testing.assert_allclose(voting.tree_majority(2, 3, 0.6), 0.7155164, rtol=0, atol=1e-7)
    np.testing.assert_allclose(voting.tree_majority(3, 3, 0.6), 0.8032543, rtol=0, atol=1e-7)


def test_each_layer_costs_two_over_pi_of_the_votes():
    g3, g9, g101, g10201 = voting.slope([3, 9, 101, 10201])
    np.testing.assert_allclose([g3, g9, g101], [1.5, 2.4609375, 8.038513], rtol=0, atol=1e-6)
    np.testing.assert_allclose((g101**2 / g10201) ** 2, 0.64292, rtol=0, atol=1e-5)
    np.testing.assert_allclose((g101**2 / g10201) ** 2, 2 / np.pi, rtol=1 / 101)
    _, tree = jax.jvp(lambda p: voting.tree_majority(2, 3, p), (0.5,), (1.0,))
    np.testing.assert_allclose(tree, 2.25, rtol=1e-14)


def test_correlation_caps_width():
    found = beta_binomial((1, 3, 9, 51, 1001, 10_001), 0.6, 0.2)
    np.testing.assert_allclose(found[:5], [0.6, 0.6256, 0.649520, 0.667386, 0.672138], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[5], 0.672407, rtol=0, atol=3e-5)  # the limit, 0.27/n below it


def test_discussion_acts_on_near_ties_and_never_beats_all_votes():
    found = np.asarray(discussion(9, 9, 0.6, np.arange(12.0)))
    expected = [0.733432, 0.789212, 0.791644, 0.776858, 0.749449, 0.733432]
    np.testing.assert_allclose(found[[0, 2, 3, 4, 6, 10]], expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[[0, 10, 11]], voting.majority(9, 0.6), rtol=1e-13)  # deaf to oneself, or to the others
    assert found.argmax() == 3
    assert found.max() < voting.majority(18, 0.6)


def test_a_coin_makes_an_even_number_worth_one_less():
    odd, even = voting.majority([17, 18], 0.6)
    np.testing.assert_allclose(odd, 0.801064, rtol=0, atol=1e-6)
    assert odd == even


CALLS = [
    Call(voting.majority, {"num_votes": 9, "competence": np.array([0.4, 0.6])}),
    Call(voting.tree_majority, {"num_layers": 2, "fan_in": 5, "competence": np.array([0.4, 0.6])}),
    Call(voting.slope, {"num_votes": [1, 3, 10_001]}),
    Call(voting.beta_binomial_majority, {"num_votes": 9, "mean": np.array([0.4, 0.6]), "correlation": 0.2}),
    Call(
        voting.beta_binomial_limit,
        {"mean": np.array([0.4, 0.6]), "correlation": 0.2},
    ),
    Call(
        voting.discussion,
        {"num_votes": 9, "num_voters": 5, "competence": np.array([0.4, 0.6]), "own_weight": np.array([2.5, 3.5])},
    ),
    Call(
        voting.weighted_majority,
        {"competence": np.array([0.9, 0.6, 0.7]), "weights": np.array([2.0, 0.7, 1.6])},
        scaling={"weights": 1},
    ),
    Call(voting.best_weights, {"competence": np.array([0.4, 0.6])}),
]
