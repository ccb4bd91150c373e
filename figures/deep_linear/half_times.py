"""Half times of a mode against its strength at the start, for several depths, with the laws of small starts."""

import numpy as np

from ...sweeps import prediction
from .. import _style


def draw(result, config):
    figure, axes = _style.panels(height=3.6)
    initial = np.array(config.initial_strengths)
    for index, depth in enumerate(config.depths):
        _style.compare(axes, initial, result, "half_time", index, f"{depth} layers", {"depth": depth})
        law = prediction(result, "half_time", "prediction_small_start").sel(depth=depth)
        _style.rival(axes, initial, law, index)
    _style.rival(axes, [], [], color="0.35", label="small starts")
    axes.set(xscale="log", yscale="log", xlabel="strength at the start $u_0/s$", ylabel="half time, times $s^{2 - 2/L}$")
    _style.legend(axes, result["simulation"].sizes["seed"], "exact", above=True, point="gradient descent", ncols=2)
    return figure
