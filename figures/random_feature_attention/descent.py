"""Errors of gradient descent against time, with exact curves, and its distance from the ridge fit."""

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
                _style.measured(axes, time, (mean, error), index)
                continue
            _style.compare(axes, time, result, field, index, _panels.TARGETS[target], at)
            infinite = prediction(result, field, "prediction_infinite").sel(at)
            _style.rival(axes, time, infinite, index)
        axes.set(xscale="log", yscale="log", xlabel="time, learning rate x steps")
    panels[0].set_ylabel("training error")
    panels[1].set_ylabel("test error, noise included")
    panels[2].set_ylabel("distance from the ridge fit")
    _style.rival(panels[0], [], [], label="infinitely many heads", color="0.35")
    _style.legend(panels[0], result["simulation"].sizes["seed"], "linear dynamics", point="SGD")
    return figure
