"""Symmetric matrices by blocks: what is computed, what is copied."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.theory.numerics.symmetric import num_blocks, upper_blocks
from zoo.checks import rejected


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 2000, 2048, 10_000])
def test_blocks_hold_every_row_and_no_block_is_empty(count):
    blocks, size = num_blocks(count)
    assert 1 <= blocks <= 8
    assert (blocks - 1) * size < max(1, count) <= blocks * size
    assert size <= 256 or blocks == 8


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)  # sums of five products of about 1


def assembled(x, at, count):
    return np.block([[np.asarray(at[i, j] if i <= j else at[j, i].T) for j in range(count)] for i in range(count)])


def test_a_gram_matrix_by_its_upper_blocks_with_its_derivative():
    x, dx = (np.random.default_rng(seed).standard_normal((3, 4, 5)) for seed in range(2))

    def gram(x):
        return upper_blocks(lambda i, j: x[i] @ x[j].T, 3)

    blocks, moved = jax.jvp(gram, (jnp.asarray(x),), (jnp.asarray(dx),))
    assert sorted(blocks) == [(i, j) for i in range(3) for j in range(i, 3)]
    flat, flat_d = x.reshape(12, 5), dx.reshape(12, 5)
    close(assembled(x, blocks, 3), flat @ flat.T)
    close(assembled(x, moved, 3), flat_d @ flat.T + flat @ flat_d.T)
    transposed = {pair: block.T for pair, block in blocks.items()}
    rejected(lambda: close(assembled(x, transposed, 3), flat @ flat.T))


def test_the_product_is_traced_once_and_runs_for_the_blocks_above_alone():
    traced = str(jax.make_jaxpr(lambda x: upper_blocks(lambda i, j: x[i] @ x[j].T, 8))(jnp.zeros((8, 2, 3))))
    assert traced.count("dot_general") == 1
    assert "length=36" in traced
