"""Cubes against a list by itertools, products against their definition, and what is not a subset of the bits."""

import itertools

import jax
import numpy as np
import pytest

from closedform.tasks import boolean_features
from zoo.checks import rejected

SUBSETS = ((0,), (1, 2), (0, 1, 3), ())
CUBE = np.array(list(itertools.product([-1.0, 1.0], repeat=4)))


def test_a_cube_has_every_input_once():
    np.testing.assert_array_equal(boolean_features.cube(4), CUBE)
    assert boolean_features.cube(1).tolist() == [[-1], [1]]
    for wrong in (0, 17):
        with pytest.raises(ValueError, match=f"^num_bits must be at least 1 and at most 16, got {wrong}$"):
            boolean_features.cube(wrong)


def assert_orthonormal(features):
    features = np.asarray(features)
    np.testing.assert_array_equal(features.T @ features / len(features), np.eye(features.shape[1]))


def test_features_are_products_and_uncorrelated():
    found = boolean_features.evaluate(SUBSETS, boolean_features.cube(4))
    expected = np.stack([CUBE[:, 0], CUBE[:, 1] * CUBE[:, 2], CUBE[:, 0] * CUBE[:, 1] * CUBE[:, 3], np.ones(16)], axis=1)
    np.testing.assert_array_equal(found, expected)
    assert_orthonormal(found)
    rejected(assert_orthonormal, (1 + np.asarray(found)) / 2)  # bits of 0 and 1
    np.testing.assert_array_equal(boolean_features.evaluate(SUBSETS, boolean_features.cube(4)[3]), expected[3])


def test_drawn_inputs_are_fair_signs():
    x = boolean_features.sample(jax.random.key(0, impl="threefry2x32"), 4000, 3)
    assert set(np.unique(x)) == {-1, 1}
    np.testing.assert_allclose(np.mean(np.asarray(x), axis=0), 0, atol=4 / 4000**0.5)


@pytest.mark.parametrize(("subsets", "shown"), [(((0, 0),), r"\(0, 0\)"), (((3,),), r"\(3,\)"), (((-1,),), r"\(-1,\)")])
def test_wrong_subsets(subsets, shown):
    with pytest.raises(ValueError, match=f"^subsets must be of different bits from 0 to 2, got {shown}$"):
        boolean_features.evaluate(subsets, boolean_features.cube(3))
    with pytest.raises(ValueError, match=r"^subsets must be at least one list of bits, got none$"):
        boolean_features.evaluate((), boolean_features.cube(3))


def test_packed_signs_are_fair_and_independent():
    """Means and products of all pairs of 40 bits, two words, within five standard errors; a word used twice is seen."""
    x = np.asarray(boolean_features.sample_packed(jax.random.key(0, impl="threefry2x32"), 4000, 40))
    assert set(np.unique(x)) == {-1.0, 1.0}

    def assert_independent(x):
        off = x.T @ x / len(x) - np.eye(x.shape[1])
        assert abs(off).max() < 5.5 / len(x) ** 0.5  # the largest of 780 pairs
        assert abs(x.mean(axis=0)).max() < 5 / len(x) ** 0.5

    assert_independent(x)
    rejected(assert_independent, np.concatenate([x[:, :32], x[:, :8]], axis=1))
