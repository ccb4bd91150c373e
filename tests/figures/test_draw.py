"""`draw` of results that are not whole."""

import json

import numpy as np
import pytest
import xarray

from closedform import figures
from closedform.sweeps import UsageError


def result(**sides):
    tree = xarray.DataTree.from_dict(sides)
    tree.attrs["closedform"] = json.dumps({"experiment": "bilinear/riccati"})
    return tree


def test_a_trained_state_alone_is_refused():
    state = xarray.Dataset({"params": (("seed", "dim"), np.ones((2, 3)))}, {"seed": [0, 1]})
    with pytest.raises(
        UsageError, match=r"^draw: the result has no simulation, but state; allowed: a result with runs, such as "
    ):
        figures.draw(result(state=state))


def test_without_a_prediction_the_fields_are_drawn():
    """The figure of the experiment would ask for its prediction."""
    fields = {"loss": (("seed", "step"), [[3.0, 2.0], [4.0, 1.0]]), "diverged": (("seed",), [False, False])}
    loss = xarray.Dataset(fields, {"seed": [0, 1], "step": [0, 10]})
    (panel,) = figures.draw(result(simulation=loss)).axes
    assert panel.get_xlabel() == "step"
