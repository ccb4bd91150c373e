"""Drift of eight quantities against the step size, its slope, and what weight decay leaves of the conserved ones."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

QUANTITIES = (
    "$p=1$: norms",
    "$p=1$: matrix",
    "$p=\\pm1$: norms",
    "$p=\\pm1$: by sign",
    "$p$ trained: norms",
    "$p$ trained: readout",
    "$p=\\pm1$: matrix",
    "$p$ trained: matrix",
)


def draw(result, config):
    rates = np.array(config.learning_rates)
    (drift, drift_error), slope, decay = (statistics(result, field) for field in ("drift", "slope", "decay"))
    laws = result["simulation"].sizes["law"]
    figure, (left, middle, right) = _style.panels(columns=3, height=2.6)
    for index in range(len(QUANTITIES)):
        at = {"quantity": index}
        simulated = drift.isel(at)
        guide = float(simulated[-1]) * (rates / rates[-1]) ** float(prediction(result, "slope").isel(at))
        _style.theory(left, rates, guide, index, linestyle="-" if index < laws else ":")
        _style.simulation(left, rates, (simulated, drift_error.isel(at)), index)
    left.set(xscale="log", yscale="log", xlabel="learning rate", ylabel=f"relative drift after a time of {config.time:g}")
    left.set_xticks(rates, [f"{rate:g}" for rate in rates])
    left.minorticks_off()
    for axes, names, values, field in ((middle, QUANTITIES, slope, "slope"), (right, QUANTITIES[:laws], decay, "decay")):
        places = np.arange(len(names))
        axes.plot(places, np.asarray(prediction(result, field)), color="0.35", linestyle="", marker="_", markersize=12)
        mean, error = (np.asarray(part) for part in values)
        for index in range(len(names)):
            one = slice(index, index + 1)
            _style.simulation(axes, places[one], (mean[one], error[one]), index)
        axes.set_xticks(places, names, rotation=40, ha="right")
    middle.set_ylabel("slope of the drift")
    right.set(ylabel=f"left under weight decay {config.weight_decay:g}", ylim=(0, 1))
    _style.legend(left, result["simulation"].sizes["seed"], "predicted slope", point="gradient descent", above=True, ncols=2)
    return figure
