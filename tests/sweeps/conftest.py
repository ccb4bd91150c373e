"""The engine as users have it: every trace is made anew."""

import itertools

import pytest

from closedform.sweeps.contract import tracing

COUNT = itertools.count(2)


@pytest.fixture(autouse=True)
def _traced_anew(monkeypatch):
    monkeypatch.setattr(tracing, "_count", COUNT)
