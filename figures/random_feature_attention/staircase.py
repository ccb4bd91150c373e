"""Test and training error of kernel ridge regression against samples: learning curves through simulated points."""

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels


def draw(result, config):
    samples = config.num_samples
    figure, (left, right) = _style.panels(columns=2)
    for axes, field in ((left, "test"), (right, "train")):
        predicted, (mean, error) = prediction(result, field), statistics(result, field)
        for index, name in enumerate(("linear", "quadratic", "correlation", "gated")):
            _style.theory(axes, samples, predicted.isel(target=index), index, _panels.TARGETS[name])
            _style.simulation(axes, samples, (mean.isel(target=index), error.isel(target=index)), index)
        _panels.over_samples(axes, config)
    right.set(ylabel="training error")
    _style.legend(right, result["simulation"].sizes["seed"], "learning curve", above=True, point="ridge", ncols=3)
    return figure
