"""Test error and learned eigenvalues against time: equations of the modes over SGD on samples."""

from .. import _style
from . import _panels


def draw(result, config):
    time = config.learning_rate * result["simulation"]["step"].values
    figure, (left, right) = _style.panels(columns=2)
    _style.compare(left, time, result, "test", shade=_style.ALONE)
    left.set(xlabel="time, learning rate x steps", ylabel="test error", yscale="log")
    _panels.modes(right, result, time, config.spectrum)
    _style.legend(left, result["simulation"].sizes["seed"], "gradient flow")
    return figure


animate = _panels.animated
