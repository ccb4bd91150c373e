"""Drift of eight quantities against the step size, its slope, and what weight decay leaves of the conserved ones."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

WORDS = {
    "ones unit": "$p=1$: norms",
    "ones matrix": "$p=1$: matrix",
    "alternating unit": "$p=\\pm1$: norms",
    "alternating signed": "$p=\\pm1$: by sign",
    "gaussian unit": "$p$ trained: norms",
    "gaussian readout": "$p$ trained: readout",
    "alternating matrix": "$p=\\pm1$: matrix",
    "gaussian matrix": "$p$ trained: matrix",
}


def draw(result, config):
    simulated = result["simulation"]
    rates = simulated["learning_rate"].values
    mean, error = statistics(result, "drift")
    figure, (left, middle, right) = _style.panels(columns=3, height=2.6)
    for index, quantity in enumerate(simulated["quantity"].values):
        at = {"quantity": quantity}
        drift = mean.sel(at)
        guide = float(drift[-1]) * (rates / rates[-1]) ** float(prediction(result, "slope").sel(at))
        _style.rival(left, rates, guide, index)
        _style.simulation(left, rates, (drift, error.sel(at)), index)
    left.set(xscale="log", yscale="log", xlabel="learning rate", ylabel=f"relative drift after a time of {config.time:g}")
    _style.log_ticks(left.xaxis, rates)
    for axes, field in ((middle, "slope"), (right, "decay")):
        predicted = prediction(result, field)
        names = [WORDS[name] for name in predicted[predicted.dims[0]].values]
        axes.plot(np.arange(len(names)), predicted, color="0.35", linestyle="", marker="_", markersize=12)
        mean, error = (np.asarray(part) for part in statistics(result, field))
        for index in range(len(names)):
            one = slice(index, index + 1)
            _style.simulation(axes, [index], (mean[one], error[one]), index)
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    middle.set_ylabel("slope of the drift")
    right.set(ylabel=f"left under weight decay {config.weight_decay:g}", ylim=(0, 1))
    _style.legend(left, simulated.sizes["seed"], "predicted (left: slope alone)", point="gradient descent", above=True, ncols=2)
    return figure
