"""Checks of checks."""

import pytest


def rejected(check, *args):
    """The check must fail on these wrong arguments."""
    with pytest.raises(AssertionError):
        check(*args)
