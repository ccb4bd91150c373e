"""Layers of voters: whom they hear, who tosses a coin, and that fresh votes have the mean and the correlation asked for."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from closedform.models.processes import voting
from zoo.checks import rejected


def layers(votes, steps, key=0, **settings):
    """The votes of every layer after the first."""
    config = voting.Config(num_voters=votes.shape[-1], **settings)
    state = voting.State(jnp.asarray(votes), jnp.zeros(()), jnp.zeros(()), jax.random.key(key))

    def next_layer(state, _):
        state = voting.step(state, config)
        return state, state.votes

    return jax.lax.scan(next_layer, state, length=steps)[1]


def test_two_layers_of_three_are_a_majority_of_majorities():
    every = np.array(list(itertools.product((1.0, -1.0), repeat=9)))
    _, second = np.moveaxis(jax.jit(jax.vmap(lambda votes: layers(votes, 2, fan_in=3)))(every), 1, 0)
    expected = np.sign(np.sign(every.reshape(-1, 3, 3).sum(2)).sum(1))
    np.testing.assert_array_equal(second, np.repeat(expected[:, None], 9, axis=1))
    assert np.any(np.sign(every.sum(1)) != expected)


def test_discussion_acts_on_near_ties():
    """Where the first votes sum to 3, a weight of 2 is not heard, one of 4 drowns the others, one of 3 ties with them."""
    first = np.where(np.arange(9) < 6, 1.0, -1.0)  # S = 3

    def second(key):
        return [layers(first, 1, key, fan_in=9, own_weight=weight)[0] for weight in (2.0, 3.0, 4.0)]

    deaf, tied, fresh = map(np.asarray, jax.jit(jax.vmap(second))(np.arange(400)))
    assert np.all(deaf == 1)
    share = np.mean(fresh == 1)
    assert abs(share - 0.6) < 4 * np.sqrt(0.24 / fresh.size)  # competence 0.6, four standard errors
    np.testing.assert_array_equal(tied[fresh == 1], 1)
    coins = tied[fresh == -1]
    assert abs(np.mean(coins == 1) - 0.5) < 4 * np.sqrt(0.25 / coins.size)


def assert_has_mean_and_correlation(votes, mean, rho):
    """Of pairs of votes on one question, first and second layer: within four standard errors."""
    right = np.asarray(votes == 1, float)
    pairs = (right - mean)[:, :, None] * (right - mean)[:, None, :]
    off = pairs[:, *np.triu_indices(right.shape[1], 1)].mean(1)
    for values, expected in ((right.mean(1), mean), (off, rho * mean * (1 - mean))):
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(len(values))


def test_fresh_votes_are_exchangeable():
    def two_layers(key):
        config = voting.Config(num_voters=4, fan_in=1, own_weight=2.0, competence=0.7, correlation=0.3)
        start = voting.init(key, config)
        return jnp.concatenate([start.votes, voting.step(start, config).votes])

    votes = np.asarray(jax.jit(jax.vmap(two_layers))(jax.random.split(jax.random.key(1), 20_000)))
    assert_has_mean_and_correlation(votes, 0.7, 0.3)
    rejected(assert_has_mean_and_correlation, votes, 0.7, 0.3 / 1.3)  # 1/(A + B) for 1/(1 + A + B)
    rejected(assert_has_mean_and_correlation, np.random.default_rng(0).permuted(votes, axis=0), 0.7, 0.3)  # new questions
