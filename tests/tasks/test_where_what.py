"""Tables against their spectrum and rank, blocks in their places, and samples against the table that they come from."""

import functools

import jax
import numpy as np
import pytest

from closedform.tasks import where_what
from zoo.checks import rejected


@functools.cache
def drawn():
    """In one program: a table of given spectrum, one of products, that with noise, and samples of the last."""

    def draw(key):
        spectrum = where_what.spectrum_table(key, (3.0, 2.0), 3, 2, 4, 2)
        product, noisy = (where_what.product_table(key, 3, 4, 2, 5, 2, noise) for noise in (0.0, 0.5))
        sample = where_what.sample(key, 300, noisy)
        again = where_what.from_matrix(where_what.matrix(spectrum), 3, 2)
        matrices = where_what.matrix(spectrum), where_what.matrix(product)
        return spectrum, product, noisy, sample, where_what.marked(sample, 3, 4), again, matrices

    return jax.tree.map(np.asarray, jax.jit(draw)(jax.random.key(0, impl="threefry2x32")))


def blocks(matrix, table):
    """That the block in row b and column a is T_ab."""
    where, what, output, dim = table.shape
    for a in range(where):
        for b in range(what):
            block = matrix[b * output : (b + 1) * output, a * dim : (a + 1) * dim]
            np.testing.assert_array_equal(block, table[a, b])


def test_spectrum_and_blocks():
    table, _, _, _, _, again, (matrix, _) = drawn()
    assert table.shape == (3, 2, 4, 2)
    np.testing.assert_allclose(np.linalg.svd(matrix, compute_uv=False)[:3], [3, 2, 0], atol=1e-12)
    blocks(matrix, table)
    rejected(blocks, table.swapaxes(1, 2).reshape(matrix.shape[::-1]).T, table)
    np.testing.assert_array_equal(again, table)
    with pytest.raises(ValueError, match=r"^spectrum must have at most 2 values, got 3$"):
        where_what.spectrum_table(jax.random.key(0, impl="threefry2x32"), (3.0, 2.0, 1.0), 1, 1, 2, 2)


def test_products_have_their_rank():
    """Without noise it is the rank of the product; 120 entries of noise have the deviation 0.5, to four errors."""
    _, table, noisy, _, _, _, (_, matrix) = drawn()
    values = np.linalg.svd(matrix, compute_uv=False)
    assert values[1] > 1
    assert values[2] < 1e-12
    np.testing.assert_allclose(np.std(noisy - table), 0.5, atol=4 * 0.5 / np.sqrt(2 * 120))


def test_samples_follow_their_maps():
    _, _, table, sample, marked, _, _ = drawn()
    expected = [table[a, b] @ x for x, a, b in zip(*sample[:3], strict=True)]
    np.testing.assert_allclose(sample.y, expected, rtol=1e-10, atol=1e-12)
    for factor, number in ((sample.where, 3), (sample.what, 4)):
        np.testing.assert_allclose(np.bincount(factor, minlength=number) / 300, 1 / number, atol=0.11)  # four standard errors
    np.testing.assert_array_equal(np.argmax(marked[:, :3], axis=1), sample.where)
    np.testing.assert_array_equal(np.argmax(marked[:, 3:7], axis=1), sample.what)
    np.testing.assert_array_equal(marked[:, 7:], sample.x)
