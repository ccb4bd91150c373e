"""Errors of gradient descent against time, with exact curves, and its distance from the ridge fit."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels


def draw(result, config):
    time = config.learning_rate * result["simulation"]["step"].values
    figure, panels = _style.panels(columns=3)
    for axes, field in zip(panels, ("train", "test", "distance"), strict=True):
        mean, error = statistics(result, field)
        for index, name in enumerate(("linear", "gated")):
            at = {"target": index}
            _style.simulation(axes, time, (mean.isel(at), error.isel(at)), index)
            if field == "distance":
                axes.plot(time, np.asarray(mean.isel(at)), color=_style.COLOURS[index], linewidth=0.6)
                continue
            _style.theory(axes, time, prediction(result, field).isel(at), index, _panels.TARGETS[name])
            infinite = prediction(result, field, "prediction_infinite").isel(at)
            _style.theory(axes, time, infinite, index, linestyle=":")
        axes.set(xscale="log", yscale="log", xlabel="time, learning rate x steps")
    panels[0].set_ylabel("training error")
    panels[1].set_ylabel("test error, noise included")
    panels[2].set_ylabel("distance from the ridge fit")
    panels[0].plot([], [], color="0.35", linestyle=":", label="infinitely many heads")
    _style.legend(panels[0], result["simulation"].sizes["seed"], "linear dynamics", point="SGD")
    return figure
