"""Labels, rows and counts of strings, whole and as prefixes of a longer array."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.tasks import languages
from zoo.exact_transformers import tokens

BITS = jnp.array([1, 0, 1, 1, 0, 1])


def test_labels():
    assert [bool(languages.parity(BITS, n)) for n in range(1, 7)] == [True, True, False, True, True, False]
    assert bool(languages.first(BITS))
    assert not bool(languages.first(1 - BITS))
    assert int(languages.num_ones(BITS, 4)) == 3


def test_rows_are_those_of_the_network_in_numpy():
    bits = np.asarray(BITS)
    np.testing.assert_allclose(languages.parity_rows(BITS), tokens(bits, "parity")[:, :5], atol=1e-15)
    np.testing.assert_array_equal(languages.first_rows(BITS), tokens(bits, "first")[:, :4])


def test_a_prefix_has_the_rows_of_the_string_that_it_is():
    for name, rows in languages.ROWS.items():
        for length in (1, 4):
            np.testing.assert_array_equal(rows(BITS, length)[: length + 1], rows(BITS[:length]), err_msg=name)
            assert languages.counts(BITS, length).tolist() == [1.0] * (length + 1) + [0.0] * (6 - length)


def test_classes_are_the_rows_with_their_numbers():
    for length in (1, 3, 6):
        rows, counts = languages.first_classes(BITS, length)
        repeated = np.repeat(rows, np.asarray(counts).astype(int), axis=0)
        whole = np.asarray(languages.first_rows(BITS[:length]))
        assert sorted(map(tuple, repeated)) == sorted(map(tuple, whole))


def test_strings_with_a_number_of_ones():
    keys = jax.random.split(jax.random.key(0), 300)
    drawn = np.asarray(jax.vmap(lambda key: languages.with_ones(key, 2, 6, 4))(keys))
    np.testing.assert_array_equal(drawn.sum(axis=1), 2)
    np.testing.assert_array_equal(drawn[:, 4:], 0)
    np.testing.assert_allclose(drawn[:, :4].mean(axis=0), 0.5, atol=4 * 0.5 / 300**0.5)


def test_bits_are_fair():
    bits = np.asarray(languages.sample(jax.random.key(0), 4000, 5))
    np.testing.assert_allclose(bits.mean(axis=0), 0.5, atol=4 * 0.5 / 4000**0.5)
    with pytest.raises(ValueError, match="num_samples and num_bits must be at least 1, got 3 and 0"):
        languages.sample(jax.random.key(0), 3, 0)
