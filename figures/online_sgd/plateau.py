"""Error and overlaps on the plateau of identical units against the learning rate, for two numbers of units."""

import numpy as np

from ...sweeps import prediction
from .. import _style

FIELDS = {"error": "error on the plateau $E$", "student": "$Q_{ik}$", "cross": "$R_{im}$"}


def draw(result, config):
    rates = np.asarray(result["simulation"]["learning_rate"].values)
    figure, panels = _style.panels(columns=3, height=2.6)
    for index, cell in enumerate(_style.cells(result, "num_units")):
        count = cell.get("num_units", config.num_units)
        for axes, (field, label) in zip(panels, FIELDS.items(), strict=True):
            _style.compare(axes, rates, result, field, index, f"{count} units", cell)
            flow = prediction(result, field, "prediction_gradient_flow").sel(cell)
            _style.rival(axes, rates, flow, index)
            axes.set(xlabel="learning rate $\\eta$", ylabel=label)
    _style.rival(panels[0], [], [], color="0.35", label="small learning rates")
    panels[0].set(yscale="log")
    _style.legend(panels[0], result["simulation"].sizes["seed"], "exact", above=True, ncols=4)
    return figure
