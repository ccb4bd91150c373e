"""Robust training: the value of the program over the attacked network, and what the ordinary network suffers."""

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    radii = simulated["radius"].values
    seeds = simulated.sizes["seed"]
    figure, axes = _style.panels(columns=1, height=2.6)
    for index, (field, label) in enumerate({"attacked": "robust network, attacked", "clean": "robust network, clean"}.items()):
        _style.compare(axes, radii, result, field, index, label)
    _style.simulation(axes, radii, statistics(result, "ordinary"), 2)
    axes.plot([], [], _style.MARKERS[2], color=_style.COLOURS[2], markerfacecolor="white", label="ordinary network, attacked")
    axes.set(xlabel="radius $\\epsilon$ of the box", ylabel="mean hinge + penalty")
    axes.set_title(f"n = {config.num_samples}, d = {config.dim}, $\\beta$ = {config.weight_decay:g}")
    _style.legend(axes, seeds, "convex program", point="attacks")
    return figure
