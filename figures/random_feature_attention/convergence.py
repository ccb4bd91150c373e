"""Distance of finite-head kernel matrices from the exact one, with slope -1/2, and single entries against exact ones."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

CONVENTIONS = {
    "x": "$x$, mean 0",
    "x with mean": "$x$, with mean",
    "[x; 1]": "$[x; 1]$, mean 0",
    "[x; 1] with mean": "$[x; 1]$, with mean",
}


def draw(result, config):
    heads = np.array(config.num_heads)
    (distance, distance_error), (entries, entries_error) = (statistics(result, field) for field in ("distance", "kernel"))
    exact, slope = (prediction(result, field) for field in ("kernel", "slope"))
    figure, (left, middle, right) = _style.panels(columns=3)
    for index, (convention, label) in enumerate(CONVENTIONS.items()):
        at = {"convention": convention}
        simulated = distance.sel(at)
        guide = float(simulated[-1]) * (heads / heads[-1]) ** float(slope.sel(at))
        _style.theory(left, heads, guide, index, label)
        _style.simulation(left, heads, (simulated, distance_error.sel(at)), index)
        _style.simulation(middle, exact.sel(at), (entries.sel(at), entries_error.sel(at)), index)
    left.set(xscale="log", yscale="log", xlabel="heads $M$", ylabel="relative distance of kernels")
    _style.legend(left, result["simulation"].sizes["seed"], "slope $-1/2$", point="heads", above=True, ncols=3)
    diagonal = np.sort(exact.values.ravel())
    middle.plot(diagonal, diagonal, color="0.35")
    middle.set(xlabel="exact kernel", ylabel=f"kernel of {heads[-1]} heads")
    places = np.arange(len(CONVENTIONS))
    _style.compare(right, places, result, "slope", at={"convention": list(CONVENTIONS)})
    right.set(ylabel="slope of the distance", ylim=(-0.6, -0.4))
    right.set_xticks(places, [label.replace(", ", "\n") for label in CONVENTIONS.values()])
    return figure
