"""Errors of gradient descent against time, with exact curves, and its distance from the ridge fit."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels


def draw(result, config):
    time = config.learning_rate * result["simulation"]["step"].values
    figure, panels = _style.panels(columns=3)
    for axes, field in zip(panels, ("train", "test", "distance"), strict=True):
        for index, target in enumerate(result["simulation"]["target"].values):
            at = {"target": target}
            if field == "distance":
                mean, error = (values.sel(at) for values in statistics(result, field))
                _style.simulation(axes, time, (mean, error), index)
                axes.plot(time, np.asarray(mean), color=_style.COLOURS[index], linewidth=0.6)
                continue
            _style.compare(axes, time, result, field, index, _panels.TARGETS[target], at)
            infinite = prediction(result, field, "prediction_infinite").sel(at)
            _style.theory(axes, time, infinite, index, linestyle=":")
        axes.set(xscale="log", yscale="log", xlabel="time, learning rate x steps")
    panels[0].set_ylabel("training error")
    panels[1].set_ylabel("test error, noise included")
    panels[2].set_ylabel("distance from the ridge fit")
    panels[0].plot([], [], color="0.35", linestyle=":", label="infinitely many heads")
    _style.legend(panels[0], result["simulation"].sizes["seed"], "linear dynamics", point="SGD")
    return figure
