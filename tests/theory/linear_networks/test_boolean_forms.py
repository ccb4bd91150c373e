"""What test_calls asks of the forms; tests/tasks/test_boolean_pairs compares them with the operations they stand for."""

import numpy as np
import pytest

from closedform.theory.linear_networks import boolean_forms
from zoo.calls import Call


def test_tables_of_any_kind():
    expected = [[[1.0, -1.0], [-1.0, 1.0]]]
    for table in ([False, True, False], (0, 1, 0), np.array([0, 1, 0], np.int8), np.array([0.0, 1.0, 0.0], np.float32)):
        forms = boolean_forms.interactions(table, np.int64(2))
        np.testing.assert_array_equal(forms, expected)
        assert forms.dtype == ("float32" if getattr(table, "dtype", None) == np.float32 else "float64")
    assert boolean_forms.interactions([0, 1, 1], 1).shape == (0, 1, 1)


def test_tables_without_a_form():
    for table in ([True, False, True], [-0.5, 0, 0]):
        with pytest.raises(ValueError, match=r"^table\[0\], the value at x = 0, must be 0"):
            boolean_forms.interactions(table, 2)


CALLS = [
    Call(
        boolean_forms.interactions,
        {"table": np.array([0.0, 1.0, 0.4]), "dim": 3},
        draw=lambda rng: {"table": np.array([0.0, *rng.normal(size=2)])},
        scaling={"table": 1},
        degree=1,
        fixed=["table"],  # along table[0] there is no form
    ),
]
