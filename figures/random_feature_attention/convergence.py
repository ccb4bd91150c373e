"""Distance of finite-head kernel matrices from the exact one, with slope -1/2, and single entries against exact ones."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

CONVENTIONS = ("$x$, mean 0", "$x$, with mean", "$[x; 1]$, mean 0", "$[x; 1]$, with mean")


def draw(result, config):
    heads = np.array(config.num_heads)
    (distance, distance_error), (entries, entries_error) = (statistics(result, field) for field in ("distance", "kernel"))
    slope, slope_error = statistics(result, "slope")
    figure, (left, middle, right) = _style.panels(columns=3)
    for index, label in enumerate(CONVENTIONS):
        at = {"convention": index}
        simulated = distance.isel(at)
        guide = float(simulated[-1]) * (heads / heads[-1]) ** float(prediction(result, "slope").isel(at))
        _style.theory(left, heads, guide, index, label)
        _style.simulation(left, heads, (simulated, distance_error.isel(at)), index)
        exact = prediction(result, "kernel").isel(at)
        _style.simulation(middle, exact, (entries.isel(at), entries_error.isel(at)), index)
    left.set(xscale="log", yscale="log", xlabel="heads $M$", ylabel="relative distance of kernels")
    _style.legend(left, result["simulation"].sizes["seed"], "slope $-1/2$", point="heads", above=True, ncols=3)
    exact = np.sort(prediction(result, "kernel").values.ravel())
    middle.plot(exact, exact, color="0.35")
    middle.set(xlabel="exact kernel", ylabel=f"kernel of {heads[-1]} heads")
    places = np.arange(len(CONVENTIONS))
    _style.theory(right, places, prediction(result, "slope"))
    _style.simulation(right, places, (slope, slope_error))
    right.set(ylabel="slope of the distance", ylim=(-0.6, -0.4))
    right.set_xticks(places, [label.replace(", ", "\n") for label in CONVENTIONS])
    return figure
