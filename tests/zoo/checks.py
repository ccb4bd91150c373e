"""Checks of checks."""

import pytest
import xarray


def rejected(check, *args):
    """The check must fail on these wrong arguments."""
    with pytest.raises(AssertionError):
        check(*args)


def changed(result, **predictions):
    """The result with other predictions of some fields: their values, or functions of the right ones."""
    other, right = result.copy(), result["prediction"].to_dataset()
    new = {
        name: value(right[name]) if callable(value) else xarray.zeros_like(right[name]) + value
        for name, value in predictions.items()
    }
    other["prediction"] = right.assign(new)
    return other
