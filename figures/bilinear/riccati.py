"""Loss, learned eigenvalues and the rest of the form against time: Riccati curves over gradient descent."""

from ...sweeps import prediction
from .. import _style
from . import _panels


def draw(result, config):
    time = config.learning_rate * result["simulation"]["step"].values
    figure, (left, middle, right) = _style.panels(columns=3)
    for axes, field, label in ((left, "loss", "$E\\,(f - y)^2$"), (right, "mixing", "norm of what is not diagonal")):
        _style.compare(axes, time, result, field, shade=_style.ALONE)
        _style.rival(
            axes, time, prediction(result, field, "prediction_traceless"), label="without the trace term", color=_style.ALONE
        )
        axes.set(xlabel="time, learning rate x steps", ylabel=label)
    _panels.modes(middle, result, time, config.spectrum)
    left.set(yscale="log")
    _style.legend(left, result["simulation"].sizes["seed"], "Riccati equation", point="gradient descent")
    return figure


animate = _panels.animated
