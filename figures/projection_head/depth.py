"""Weights after every layer against those behind the head, and their powers: theory over networks of several depths."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    layers = simulated["layer"].values.tolist()
    figure, (left, right) = _style.panels(columns=2, height=2.8)
    place = 1 + np.arange(simulated.sizes["feature"])
    order = np.argsort(prediction(result, "weight").isel(layer=0).values)
    for index, layer in enumerate(layers):
        mean, error = (values.sel({"layer": layer}).values[order] for values in statistics(result, "weight"))
        _style.theory(left, place, prediction(result, "weight").sel({"layer": layer}).values[order], index, f"layer {layer}")
        _style.simulation(left, place, (mean, error), index)
    left.set(xticks=place, xticklabels=[_style.texts(config.signals)[i] for i in order])
    left.set(xlabel="feature, by its signal $\\phi$, in the order of weights", ylabel="weight after a layer")
    x = np.arange(len(layers))
    _style.compare(right, x, result, "power", shade=_style.ALONE, drawstyle="steps-mid")
    _style.measured(right, x, statistics(result, "random_power"), 5, "random weights")
    right.set(xticks=x, xticklabels=layers, xlabel="layer", ylabel="power of the final weights")
    right.legend()
    _style.legend(left, simulated.sizes["seed"], "$q^{l/k}$", above=True, point="networks", ncols=5)
    return figure
