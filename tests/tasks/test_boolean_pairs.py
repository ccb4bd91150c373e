import itertools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.tasks import boolean_pairs
from closedform.theory.linear_networks import boolean_forms

OPERATIONS = {"and": lambda a, b: a and b, "or": lambda a, b: a or b, "xor": lambda a, b: a != b}
CUBE = np.array(list(itertools.product([False, True], repeat=4)))


def test_every_operation_has_its_table():
    assert typing.get_args(boolean_pairs.Operation) == tuple(boolean_pairs.TABLES) == tuple(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_output_is_the_operation_and_its_form(name):
    table = jnp.asarray(boolean_pairs.TABLES[name])
    outputs = jax.vmap(boolean_pairs.evaluate, (None, 0))(table, jnp.asarray(CUBE, float))
    expected = [[OPERATIONS[name](x[i], x[j]) for i, j in itertools.combinations(range(4), 2)] for x in CUBE]
    np.testing.assert_array_equal(outputs, np.array(expected, float))
    forms = np.asarray(boolean_forms.interactions(table, 4))
    np.testing.assert_allclose(np.einsum("nd,pde,ne->np", CUBE, forms, CUBE), expected)
    np.testing.assert_array_equal(forms, np.swapaxes(forms, 1, 2))
    # no other symmetric form does it: 10 coefficients, which the 16 inputs determine
    products = np.array([np.outer(x, x)[np.triu_indices(4)] for x in CUBE])
    assert np.linalg.matrix_rank(products) == 10


@pytest.mark.parametrize(("name", "values"), [("and", (-0.5, 0.5)), ("or", (0.5, 1.5)), ("xor", (0.0, 2.0))])
def test_eigenvalues(name, values):
    form = boolean_forms.interactions(jnp.asarray(boolean_pairs.TABLES[name]), 2)[0]
    np.testing.assert_allclose(jnp.linalg.eigvalsh(form), values, atol=1e-15)


def test_bits_are_ones_with_the_probability():
    x = boolean_pairs.sample(jax.random.key(0), 20_000, 4, 0.3)
    assert set(np.unique(x)) == {0, 1}
    np.testing.assert_allclose(jnp.mean(x, axis=0), 0.3, atol=4 * (0.21 / 20_000) ** 0.5)
    np.testing.assert_allclose(np.corrcoef(x.T), np.eye(4), atol=4 / 20_000**0.5)


def test_an_operation_that_is_one_at_zero_has_no_form():
    with pytest.raises(ValueError, match=r"table\[0\].*must be 0 without biases, got 1"):
        boolean_forms.interactions(jnp.array([1.0, 0.0, 1.0]), 2)
