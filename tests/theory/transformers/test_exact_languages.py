"""Closed forms against the networks in numpy, facts to twelve digits, and mistakes that a string tells."""

import functools

import jax
import numpy as np
import pytest

from closedform.theory.transformers import exact_languages
from closedform.theory.transformers.exact_languages import (
    first_attention,
    first_logit,
    first_logit_normalised,
    parity_logit,
    parity_logit_normalised,
)
from zoo.calls import Call
from zoo.checks import rejected
from zoo.exact_transformers import logit, strings

LONG = [np.random.default_rng(n).integers(0, 2, n) for n in (16, 37, 64)] + [np.ones(9, int), np.zeros(10, int)]
STRINGS = strings(5) + LONG
LENGTHS, ONES, FIRST = (np.array([part(bits) for bits in STRINGS]) for part in (len, np.sum, lambda bits: bits[0]))


def logits(language, **settings):
    return np.array([logit(bits, language, **settings) for bits in STRINGS])


def assert_facts(parity_fn):
    """To 1e-12: PARITY at lengths 10, 11, 4; and 99, where a hundred tokens give twice the tangent over their square."""
    for n, k, expected in ((10, 4, -0.00631431033407), (11, 10, -0.00582785954880), (4, 3, 0.04056787517351)):
        np.testing.assert_allclose(parity_fn(n, k, 1.0), expected, atol=1e-12)
    np.testing.assert_allclose(parity_fn(99, 51, np.array([1.0, 10.0])), [8.39211775e-5, 1.99947814e-4], atol=1e-12)


def test_parity_to_twelve_digits():
    assert_facts(parity_logit)
    rejected(assert_facts, lambda n, k, b: parity_logit(n, k, b / 2**0.5))  # the root of the width
    rejected(assert_facts, lambda n, k, b: parity_logit(n + 1, k, b))  # i/n for i/N: one token too many
    rejected(assert_facts, lambda n, k, b: -parity_logit(n, k, b))


def assert_parity(parity_fn):
    """Every string of up to five bits, and longer ones: the logit counts ones, whatever their order."""
    for beta in (0.3, 4.0):
        found = np.asarray(parity_fn(LENGTHS, ONES, beta))
        np.testing.assert_allclose(found, logits("parity", beta=beta), rtol=1e-9, atol=1e-15)
        assert np.all((found > 0) == (ONES % 2 == 1))


def test_parity():
    assert_parity(parity_logit)
    rejected(assert_parity, lambda n, k, b: -((-1.0) ** k) * 2 / (n + 1) ** 2 * np.tanh(b / 5**0.5))  # at odd numbers of tokens
    rejected(assert_parity, lambda n, k, b: parity_logit(n, n - k, b))


def assert_slice(parity_fn):
    """To 1e-9, and the network itself, also where ones count as more than there are tokens, or as less than none."""
    for k, c, expected in (
        (7, 1.05, 6.294088e-4),
        (7, 0.93, 4.196059e-5),
        (12, 0.8, -4.196059e-4),
        (12, 1.31, -9.231330e-4),
    ):
        np.testing.assert_allclose(parity_fn(19, k, 1.0, c), expected, atol=1e-9)
    bits = np.array([1, 1, 0, 1, 1])
    for c in (-0.3, -0.1, 0.6, 1.3, 1.4, 1.7):
        for string in (bits, bits[1:]):
            found = float(parity_fn(len(string), string.sum(), 1.0, c))
            np.testing.assert_allclose(found, logit(string, "parity", 1.0, c=c), rtol=1e-10, atol=1e-16)


def triangle(n, k, beta, c):
    """Of even numbers of tokens, as if there were tokens everywhere."""
    distance = abs((c * k) % 2 - 1)  # 1 at even numbers
    return -2 / (n + 1) ** 2 * np.tanh(beta / 5**0.5) * (2 * distance - 1)


def test_slice():
    assert_slice(parity_logit)
    rejected(assert_slice, triangle)
    np.testing.assert_allclose(parity_logit(19, 7, 1.0, 1.3), triangle(19, 7, 1.0, 1.3), rtol=1e-12)
    rejected(assert_slice, lambda n, k, b, c: parity_logit(n, k, b, np.round(c * k) / k))  # without interpolation


def test_which_weights_are_right_for_all_strings():
    """Signs are right for every number of ones if c is within 1/(2N) of 1, for even N within 1/(2n), and no further down."""
    for n in (10, 19, 40):
        ones, reach = np.arange(n + 1), 1 / (2 * n if n % 2 else 2 * (n + 1))
        for c, right in ((1 + 0.99 * reach, True), (1 - 0.99 * reach, True), (1 - 1.01 * reach, False)):
            assert np.all((np.asarray(parity_logit(np.full(n + 1, n), ones, 1.0, c)) > 0) == (ones % 2 == 1)) == right


def assert_first(first_fn, attention_fn):
    """To 1e-12, then every string, with attention scaled by ln N and without."""
    facts = (
        (10, 1.0, False, 0.06537539014330),
        (50, 1.0, False, 0.01460250950976),
        (10, 1.0, True, 0.10510596368697),
        (500, 6**0.5, True, 501 / (2 * 1001)),
    )
    for n, beta, log_length, expected in facts:
        np.testing.assert_allclose(first_fn(n, 1, beta, log_length), expected, atol=1e-12)
    for log_length in (False, True):
        expected = logits("first", beta=2.0, log_length=log_length)
        np.testing.assert_allclose(first_fn(LENGTHS, FIRST, 2.0, log_length), expected, rtol=1e-12)
        np.testing.assert_allclose(attention_fn(LENGTHS, 2.0, log_length), 2 * np.abs(expected), rtol=1e-12)


def test_first():
    assert_first(first_logit, first_attention)

    def wrong(exponent_fn):
        def first_fn(n, bit, beta, log_length):
            weight = np.exp(exponent_fn(n, beta / 6**0.5)) if log_length else np.exp(beta / 6**0.5)
            return (bit - 0.5) * weight / (weight + n)

        return first_fn

    assert_first(wrong(lambda n, s: s * np.log(n + 1)), first_attention)
    rejected(assert_first, wrong(lambda n, s: s * np.log(n)), first_attention)  # without CLS
    rejected(assert_first, wrong(lambda n, s: s * np.log(n + 1) ** 2), first_attention)  # keys scaled too
    rejected(assert_first, first_logit, lambda n, b, log: first_attention(n + 1, b, log))
    rejected(assert_first, lambda n, bit, b, log: first_logit(n, 1 - bit, b, log), first_attention)


def test_threshold_of_the_exponent():
    """With ln N the logit tends to a quarter at the exponent 1 and to a half above; below, and without, to 0."""
    for exponent, limit in ((1.0, 0.25), (3.0, 0.5)):
        np.testing.assert_allclose(first_logit(10**9, 1, exponent * 6**0.5, True), limit, rtol=1e-8)
    assert float(first_logit(10**9, 1, 0.5 * 6**0.5, True)) < 1e-4
    assert float(first_logit(10**9, 1, 3.0 * 6**0.5, False)) < 1e-7
    assert float(first_logit(10**9, 1, np.inf, False)) == 0.5  # hard attention hears it


def alternating(n):
    return np.arange(n) % 2


# strings with beta, eps and c: whole arrays, so that one set of small programs serves all tests
TABLE = [
    *((bits, 2.0, 1e-2, 1.0) for bits in STRINGS[::2] + LONG),
    *((bits, 2.0, 1e-6, 1.0) for bits in STRINGS[1::4] + LONG),
    *((bits, 1.0, 0.0, 1.0) for bits in (*STRINGS[:6], np.ones(8, int), alternating(45), alternating(200))),
    *((bits, 1.0, 1e-4, c) for bits, c in ((alternating(6), 0.9), (np.ones(3, int), 1.2), (np.ones(4, int), 1.4))),
    (alternating(16), 1.0, 1e-5, 1.0),
    (alternating(64), 1.0, 1e-5, 1.0),
]
BETA, EPS, WEIGHT = np.array([row[1:] for row in TABLE]).T
LENGTH, COUNT, BIT = (np.array([part(row[0]) for row in TABLE]) for part in (len, np.sum, lambda bits: bits[0]))
SURE = EPS == 0


@functools.cache
def expected(language, log_length=False):
    given = {"log_length": log_length, "norm": True}
    return np.array([logit(bits, language, beta=b, eps=e, c=c, **given) for bits, b, e, c in TABLE])


def assert_normalised_parity(parity_fn):
    """To 1e-5 the strings 0101.. of 16 and 64 bits; then the network, and the root of 10 where eps = 0."""
    found = np.asarray(parity_fn(LENGTH, COUNT, BETA, EPS, WEIGHT))
    np.testing.assert_allclose(found[-2:], [-2.328871, -0.240241], atol=1e-5)
    np.testing.assert_allclose(found, expected("parity"), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[SURE], np.where(COUNT[SURE] % 2 == 1, 1, -1) * 10**0.5, rtol=1e-9)


def test_normalised_parity():
    right = parity_logit_normalised
    assert_normalised_parity(right)
    rejected(assert_normalised_parity, lambda n, k, b, e, c: right(n, k, b * 2**0.5, e, c))  # the size of a head without LN
    rejected(assert_normalised_parity, lambda n, k, b, e, c: right(n, k, b, e / 2, c))
    rejected(assert_normalised_parity, lambda n, k, b, e, c: right(n, k, b, 0 * e, c))  # eps without effect
    rejected(assert_normalised_parity, lambda n, k, b, e, c: right(n, k, b, e, c**0))


def assert_normalised_first(first_fn):
    """To 1e-5 the strings 1000.. of 16 and 64 bits; then the network, and the root of 6 where eps = 0."""
    facts = first_fn(np.array([16, 64]), np.array([1.0, 1.0]), 1.0, 1e-5, False)
    np.testing.assert_allclose(facts, [2.442538, 2.365468], atol=1e-5)
    for log_length in (False, True):
        found = np.asarray(first_fn(LENGTH, BIT, BETA, EPS, log_length))
        np.testing.assert_allclose(found, expected("first", log_length), rtol=1e-9)
        np.testing.assert_allclose(found[SURE], (2 * BIT[SURE] - 1) * 6**0.5, rtol=1e-9)


def test_normalised_first():
    right = first_logit_normalised
    assert_normalised_first(right)
    rejected(assert_normalised_first, lambda n, bit, b, e, log: right(n, bit, b * 2**0.5, e, log))
    rejected(assert_normalised_first, lambda n, bit, b, e, log: right(n, bit, b, 2 * e, log))
    rejected(assert_normalised_first, lambda n, bit, b, e, log: right(n, bit, b, e, False))
    rejected(assert_normalised_first, lambda n, bit, b, e, log: right(n + 1, bit, b, e, log))


def test_normalised_parity_at_any_beta():
    """Proportional to a beta that is small, where the two heads nearly cancel; and finite beyond the range of exp."""
    small = np.asarray(parity_logit_normalised(LENGTH, COUNT, 1e-9 * BETA, EPS + 1e-3, WEIGHT))
    smaller = np.asarray(parity_logit_normalised(LENGTH, COUNT, 1e-10 * BETA, EPS + 1e-3, WEIGHT))
    np.testing.assert_allclose(small, 10 * smaller, rtol=1e-9, atol=1e-30)
    assert np.isfinite(parity_logit_normalised(LENGTH, COUNT, 1e4 * BETA, EPS, WEIGHT)).all()


def test_lengths_and_numbers_broadcast():
    """Every length with every number of ones, or with every first bit."""
    lengths, ones, bits = np.array([[3], [8]]), np.array([0, 2, 3]), np.array([0.0, 1.0])
    for function, shape in (
        (lambda: parity_logit(lengths, ones, 1.0), (2, 3)),
        (lambda: parity_logit_normalised(lengths, ones, 1.0, 1e-3), (2, 3)),
        (lambda: first_logit(lengths, bits, 1.0), (2, 2)),
        (lambda: first_logit_normalised(lengths, bits, 1.0, 1e-3), (2, 2)),
        (lambda: first_attention(lengths, np.array([1.0, 2.0, 4.0])), (2, 3)),
    ):
        assert jax.eval_shape(function).shape == shape  # nothing is compiled
    table = jax.jit(lambda: parity_logit(lengths, ones, 1.0))()
    np.testing.assert_allclose(
        table, [[float(logit((np.arange(n) < k).astype(int), "parity")) for k in ones] for n in (3, 8)], rtol=1e-10
    )


def test_more_ones_than_bits_are_refused():
    with pytest.raises(ValueError, match=r"^num_ones must be at most num_bits, got 4.0 with num_bits 3.0$"):
        exact_languages.parity_logit(3, 4, 1.0)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def drawn(rng):
    return {"num_ones": rng.uniform(0, 6, 2), "beta": 10 ** rng.uniform(-2, 1), "value_weight": rng.uniform(-1, 2)}


TYPICAL = {"num_ones": np.array([2.3, 4.6]), "beta": 1.3, "value_weight": 0.9}
KINKS = ["num_ones[0]=0.0", "num_ones=0.0"]  # a whole number, at which the hat has its kink
CALLS = [
    Call(exact_languages.parity_logit, {"num_bits": 7, **TYPICAL}, draw=drawn),
    Call(
        exact_languages.parity_logit_normalised,
        {"num_bits": 7, **TYPICAL, "eps": 1e-3},
        draw=lambda rng: {**drawn(rng), "eps": 10 ** rng.uniform(-4, -1)},
        kinks=KINKS,
    ),
    Call(
        exact_languages.first_logit,
        {"num_bits": 70, "first_bit": np.array([1.0, 0.0]), "beta": 1.3, "log_length": True},
    ),
    Call(exact_languages.first_attention, {"num_bits": 70, "beta": 1.3}),
    Call(
        exact_languages.first_logit_normalised,
        {"num_bits": 70, "first_bit": np.array([1.0, 0.0]), "beta": 1.3, "eps": 1e-3},
        draw=lambda rng: {
            "first_bit": rng.integers(0, 2, 2).astype(float),
            "beta": rng.uniform(0.1, 5),
            "eps": 10 ** rng.uniform(-5, 1),
        },
    ),
]
