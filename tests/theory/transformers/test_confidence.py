"""Bits against mpmath, attention against the softmax, and layer norm against its definition."""

import mpmath
import numpy as np

from closedform.theory.transformers import confidence
from zoo.calls import Call
from zoo.checks import rejected

MARGINS = (-700.0, -40.0, -1.5, -1.0, -1e-3, 0.0, 1e-12, 3e-4, 0.7, 30.0, 200.0)


def assert_bits(cross_entropy_fn, gap_fn):
    """In sixty digits: cross-entropies of large margins and gaps of small ones keep all of theirs."""
    with mpmath.workdps(60):
        for margin in MARGINS:
            bits = mpmath.log1p(mpmath.exp(-mpmath.mpf(margin))) / mpmath.log(2)
            np.testing.assert_allclose(float(cross_entropy_fn(margin)), float(bits), rtol=1e-14)
            np.testing.assert_allclose(float(gap_fn(margin)), float(1 - bits), rtol=1e-14)


def test_bits():
    cross_entropy, gap = confidence.cross_entropy, confidence.hahn_gap
    assert_bits(cross_entropy, gap)
    rejected(assert_bits, lambda m: np.log(2) * cross_entropy(m), gap)  # nats
    rejected(assert_bits, lambda m: -np.log2(1 / (1 + np.exp(-np.float64(m)))), gap)  # loses large margins
    rejected(assert_bits, cross_entropy, lambda m: 1 - cross_entropy(m))  # loses small ones
    rejected(assert_bits, lambda m: cross_entropy(-m), gap)


def test_a_small_margin_is_worth_half_of_it_over_the_logarithm_of_two():
    np.testing.assert_allclose(confidence.hahn_gap(1e-8), 1e-8 / (2 * np.log(2)), rtol=1e-8)
    assert [float(confidence.cross_entropy(m)) for m in (np.inf, -np.inf)] == [0, np.inf]
    assert [float(confidence.hahn_gap(m)) for m in (np.inf, -np.inf)] == [1, -np.inf]


def assert_largest(attention_fn):
    """No logits within the spread give more to one token, and one above all others gives as much."""
    rng = np.random.default_rng(0)
    for others, spread in ((1, 0.3), (5, 2.0), (40, 7.0)):
        largest = float(attention_fn(others, spread))
        logits = np.append(spread, np.zeros(others))
        np.testing.assert_allclose(largest, np.exp(spread) / np.exp(logits).sum(), rtol=1e-13)
        drawn = np.exp(rng.uniform(0, spread, (200, others + 1)))
        assert np.all(drawn.max(axis=1) / drawn.sum(axis=1) <= largest)


def test_largest_attention():
    assert_largest(confidence.largest_attention)
    rejected(assert_largest, lambda r, d: confidence.largest_attention(r + 1, d))  # one token too many
    rejected(assert_largest, lambda r, d: confidence.largest_attention(r, d / 2))
    assert float(confidence.largest_attention(0, 1.0)) == 1
    assert float(confidence.largest_attention(10**6, np.inf)) == 1


def assert_normalised(normalised_fn):
    for amplitude in (-3.0, -1e-9, 0.0, 2e-5, 0.4):
        for dim in (6, 20):
            for eps in (1e-5, 1e-12):
                x = np.zeros(dim)
                x[[2, dim - 1]] = amplitude, -amplitude
                expected = (x / np.sqrt(x.var() + eps))[2]
                np.testing.assert_allclose(float(normalised_fn(amplitude, dim, eps)), expected, rtol=1e-13)


def test_normalised_logit():
    assert_normalised(confidence.normalised_logit)
    rejected(assert_normalised, lambda a, d, e: confidence.normalised_logit(a, d / 2, e))  # the mean over one half
    rejected(assert_normalised, lambda a, d, e: confidence.normalised_logit(a, d, e**2))
    for amplitude in (-1e-200, 1e-30, 5.0):
        np.testing.assert_allclose(
            confidence.normalised_logit(amplitude, [20, 12], 0), np.sign(amplitude) * np.sqrt([10, 6]), rtol=1e-15
        )
    assert float(confidence.normalised_logit(0, 20, 0)) == 0


def test_cross_entropies_of_layer_norm_without_eps():
    """0.059811 bits for PARITY and 0.119473 for FIRST; a gain of the head takes them to 0."""
    logits = confidence.normalised_logit(1e-4, np.array([20.0, 12.0]), 0)
    np.testing.assert_allclose(confidence.cross_entropy(logits), [0.059811, 0.119473], atol=1e-6)
    np.testing.assert_allclose(
        confidence.cross_entropy(10 * logits), np.log1p(np.exp(-10 * np.sqrt([10, 6]))) / np.log(2), rtol=1e-9
    )


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

CALLS = [
    Call(confidence.cross_entropy, {"margin": np.array([0.4, -3.0])}),
    Call(confidence.hahn_gap, {"margin": np.array([0.4, -3.0])}),
    Call(confidence.largest_attention, {"num_others": np.array([3.0, 50.0]), "spread": 1.5}),
    Call(
        confidence.normalised_logit,
        {"amplitude": np.array([1e-3, -0.2]), "dim": 20.0, "eps": 1e-5},
        cases=[{"amplitude": np.array([0.0, 1e-9])}, {"eps": 0.0}],
    ),
]
