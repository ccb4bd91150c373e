"""What the gates of either layer tell about either factor, the error that is left, and gradients of gates of equal experts."""

import numpy as np

from ...sweeps import statistics
from .. import _style

MARK = {"linestyle": "", "marker": "_", "markersize": 13, "markeredgewidth": 1.4}


def draw(result, config):
    simulated = result["simulation"]
    figure, (left, middle, right) = _style.panels(columns=3, height=2.5)
    layers, factors = simulated["layer"].values.tolist(), simulated["factor"].values.tolist()
    places, numbers = np.arange(len(layers), dtype=float), (config.model.num_first, config.model.num_second)
    for index, (factor, number) in enumerate(zip(factors, numbers, strict=True)):
        told = [values.sel(factor=factor) for values in statistics(result, "information")]
        _style.measured(left, places + 0.1 * (index - 0.5), told, index, f"about {factor}", filled=True)
        _style.rival(left, [-0.5, len(layers) - 0.5], [np.log(number)] * 2, index)
    _style.rival(left, [], [], color="0.35", label="all there is")
    left.set(ylim=(0, None), ylabel="information in the gate, nats")
    for place, field in enumerate(("power", "risk")):
        mean_and_error = [np.atleast_1d(values) for values in statistics(result, field)]
        _style.measured(middle, [place], mean_and_error, 2 + place, filled=True)
    middle.set_xticks((0, 1), ("target $E\\,|y|^2$", "left $E\\,|y - f|^2$"))
    middle.set(xlim=(-0.6, 1.6), ylim=(0, None), ylabel="mean square")
    _style.compare(right, places, result, "gate_gradient", 4, "gate", **MARK)
    _style.measured(right, places, statistics(result, "expert_gradient"), 5, "experts", filled=True)
    right.set_yscale("symlog", linthresh=1e-16)
    right.set_yticks([0, 1e-15, 1e-10, 1e-5, 1])
    right.set_ylabel("largest gradient, equal experts")
    right.legend(loc="center")
    for axes in (left, right):
        axes.set_xticks(places, [f"{layer} layer" for layer in layers])
        axes.set_xlim(-0.6, len(layers) - 0.4)
    _style.legend(left, simulated.sizes["seed"], "theory", above=True, point="networks", ncols=6)
    return figure
