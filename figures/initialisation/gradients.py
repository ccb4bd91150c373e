"""Growth of the second moment of the gradient per layer for every activation, and the gradient against the layer."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

ACTIVATION = "activation"
DASH = {"linestyle": "", "marker": "_", "markersize": 11, "markeredgewidth": 1.2}


def draw(result, config):
    cells = _style.cells(result, ACTIVATION)
    names = [cell.get(ACTIVATION, config.activation) for cell in cells]
    layers = result["simulation"]["layer"].values
    figure, (growth, profile) = _style.panels(columns=2, height=2.6)
    growth.axhline(1, color="0.8", linewidth=0.5, zorder=0)
    for index, (cell, name) in enumerate(zip(cells, names, strict=True)):
        mean, error = (np.atleast_1d(values.sel(cell)) for values in statistics(result, "growth"))
        _style.theory(growth, [index], np.atleast_1d(prediction(result, "growth").sel(cell)), index, name, **DASH)
        _style.simulation(growth, [index], (mean, error), index)
        _style.compare(profile, layers, result, "log_gradient", index, None, cell)
    growth.set_xticks(range(len(names)), names, rotation=20)
    growth.set(ylabel="growth of the gradient per layer $\\chi_1$", xlim=(-0.6, len(names) - 0.4), ylim=(0, None))
    profile.set(xlabel="layer", ylabel="ln $|\\delta_l|^2/|\\delta_L|^2$")
    if len(names) > 1:
        low = min(float(prediction(result, "log_gradient").min()), -3)
        profile.set_ylim(max(low, -8), None)
    _style.legend(growth, result["simulation"].sizes["seed"], "mean field", above=True, point="networks", ncols=4)
    return figure
