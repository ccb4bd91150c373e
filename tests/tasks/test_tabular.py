"""Real data: what the files are, the split, and a scaling that has seen only the training part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.tasks import tabular


@pytest.mark.parametrize(
    ("load", "num_samples", "dim", "positive"), [(tabular.digits_3_vs_8, 357, 64, 174), (tabular.breast_cancer, 569, 30, 357)]
)
def test_what_the_files_hold(load, num_samples, dim, positive):
    x, y = load()
    assert isinstance(x, np.ndarray)
    assert isinstance(y, np.ndarray)
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((num_samples, dim), (num_samples,), np.float64, np.float64)
    assert np.isfinite(x).all()
    assert set(np.unique(y)) == {-1.0, 1.0}
    assert (y > 0).sum() == positive
    assert len(np.unique(x, axis=0)) == num_samples  # no example twice, so none in both parts of a split


def test_digits_are_ink_in_sixteenths():
    x, y = tabular.digits_3_vs_8()
    np.testing.assert_array_equal(16 * x, np.round(16 * x))
    assert (x.min(), x.max()) == (0, 1)
    assert (np.ptp(x, axis=0) == 0).sum() == 10
    # an eight has ink on the left of its upper loop, a three has none: so +1 is the eight
    left = x.reshape(-1, 8, 8)[:, 2:4, 1:3].mean(axis=(1, 2))
    assert left[y > 0].mean() > left[y < 0].mean()


def test_malignant_tumours_are_larger():
    x, y = tabular.breast_cancer()
    assert x[y < 0, 0].mean() > x[y > 0, 0].mean()


def _rows(x):
    return {row.tobytes() for row in np.asarray(x)}


def test_split_is_disjoint_and_complete_and_keeps_each_label_with_its_example():
    x, y = tabular.breast_cancer()
    (x_train, y_train), (x_test, y_test) = jax.jit(tabular.split, static_argnums=3)(jax.random.key(1), x, y, 100)
    assert (x_train.shape, x_test.shape) == ((100, 30), (469, 30))
    assert not _rows(x_train) & _rows(x_test)
    assert _rows(x_train) | _rows(x_test) == _rows(x)
    label = {row.tobytes(): value for row, value in zip(x, y, strict=True)}
    for rows, labels in ((x_train, y_train), (x_test, y_test)):
        np.testing.assert_array_equal([label[row.tobytes()] for row in np.asarray(rows)], labels)


def test_split_follows_the_key():
    x, y = tabular.digits_3_vs_8()
    draws = [tabular.split(jax.random.key(seed), x, y, 50)[0][0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert _rows(draws[0]) != _rows(draws[2])


@pytest.mark.parametrize("num_samples", [0, 357, -1])
def test_split_leaves_something_on_both_sides(num_samples):
    with pytest.raises(ValueError, match=r"num_samples must be from 1 to 356.*got"):
        tabular.split(jax.random.key(0), *tabular.digits_3_vs_8(), num_samples)


def test_scaling_is_that_of_the_training_part():
    x, y = tabular.breast_cancer()
    (x_train, _), (x_test, _) = tabular.split(jax.random.key(0), x, y, 60)
    train, test = tabular.unit_range(x_train, x_test)
    np.testing.assert_allclose(train.min(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(train.max(axis=0), 1, rtol=1e-14)
    assert test.max() > 1  # fitted on everything, nothing would be
    moved = tabular.unit_range(x_train, 10 * x_test)[0]
    np.testing.assert_array_equal(moved, train)


def test_a_constant_column_is_nothing():
    x, y = tabular.digits_3_vs_8()
    (x_train, _), (x_test, _) = tabular.split(jax.random.key(0), x, y, 20)
    train, test = tabular.unit_range(x_train, x_test)
    still = np.ptp(np.asarray(x_train), axis=0) == 0
    assert still.sum() > 10
    assert not np.asarray(train)[:, still].any()
    assert not np.asarray(test)[:, still].any()
    assert jnp.isfinite(test).all()


def test_bias_is_a_last_column_of_ones():
    x, _ = tabular.digits_3_vs_8()
    wide = tabular.with_bias(x)
    assert wide.shape == (357, 65)
    np.testing.assert_array_equal(wide[:, :-1], x)
    np.testing.assert_array_equal(wide[:, -1], 1)
