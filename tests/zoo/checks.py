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


def config(kind, /, **values):
    """`kind(**values)` without the types that tests check at run time, which would come before the Config's own check."""
    made = object.__new__(kind)
    for name, value in {**vars(kind()), **values}.items():
        object.__setattr__(made, name, value)
    made.__post_init__()
    return made
