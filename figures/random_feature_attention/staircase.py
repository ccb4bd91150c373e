"""Test and training error of kernel ridge regression against samples: learning curves through simulated points."""

from .. import _style
from . import _panels


def draw(result, config):
    figure, (left, right) = _style.panels(columns=2)
    for axes, field in ((left, "test"), (right, "train")):
        _panels.over_targets(axes, config.num_samples, result, field)
        _panels.over_samples(axes, config)
    right.set(ylabel="training error")
    _style.legend(right, result["simulation"].sizes["seed"], "learning curve", above=True, point="ridge", ncols=3)
    return figure
