"""Correlations of dissimilarity matrices of three networks and two features, and the shares behind them."""

import numpy as np

from ...sweeps import statistics
from .. import _style
from . import _panels

SHORT = ("on $x_1$", "on $x_2 x_3$", "on both", "$x_1$", "$x_2 x_3$")


def draw(result, config):
    simulated = result["simulation"]
    figure, (left, middle, right) = _style.panels(columns=3, height=2.9)
    _style.signed_image(left, statistics(result, "correlation")[0], "networks and features", numbers=True)
    left.set_xticks(range(len(SHORT)), SHORT, rotation=40, ha="right")
    left.set_yticks(range(len(SHORT)), SHORT)
    features = simulated["feature"].values.tolist()
    for index, network in enumerate(simulated["network"].values.tolist()):
        others, places = (np.arange(number) + 0.2 * (index - 1) for number in (len(SHORT), len(features)))
        _panels.judged(middle, others, result, "correlation", index, at={"representation": network})
        _panels.judged(right, places, result, "shares", index, SHORT[index], {"network": network})
    _panels.named(middle, SHORT, ylabel="correlation of dissimilarities", ylim=(-0.05, 1.1))
    names = [_panels.FEATURES[feature] for feature in features]
    _panels.named(right, names, ylabel="share of the hidden variance", ylim=(-0.05, 1.1))
    _style.legend(right, simulated.sizes["seed"], "theory", above=True, point="networks", ncols=5)
    return figure
