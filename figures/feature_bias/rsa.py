"""Correlations of dissimilarity matrices of three networks and two features, predicted and measured, and shares behind them."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels

SHORT = ("on $x_1$", "on $x_2 x_3$", "on both", "$x_1$", "$x_2 x_3$")


def draw(result, config):
    simulated = result["simulation"]
    figure, (left, middle, right) = _style.panels(columns=3, height=2.9)
    for axes, values, title in (
        (left, prediction(result, "correlation"), "predicted from shares"),
        (middle, statistics(result, "correlation")[0], "measured"),
    ):
        _style.signed_image(axes, values, title, numbers=True)
        axes.set_xticks(range(len(SHORT)), SHORT, rotation=40, ha="right")
        axes.set_yticks(range(len(SHORT)), SHORT)
    features = simulated["feature"].values.tolist()
    for index, network in enumerate(simulated["network"].values.tolist()):
        places = np.arange(len(features)) + 0.2 * (index - 1)
        _panels.judged(right, places, result, "shares", index, SHORT[index], {"network": network})
    names = [_panels.FEATURES[feature] for feature in features]
    _panels.named(right, names, ylabel="share of the hidden variance", ylim=(-0.05, 1.1))
    _style.legend(right, simulated.sizes["seed"], "theory", point="networks")
    return figure
