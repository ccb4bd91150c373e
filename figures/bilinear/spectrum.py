"""Eigenvalues at initialisation: histogram with the masses of the free-probability law, and edge and moments."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    ratios = config.ratios
    figure, panels = _style.panels(columns=len(ratios) + 1)
    mean, error = statistics(result, "mass")
    edges = prediction(result, "edge")
    places = np.arange(result["simulation"].sizes["bin"])
    for index, (axes, ratio) in enumerate(zip(panels, ratios, strict=False)):
        at = {"ratio": index}
        reach = 1.2 * float(edges.isel(at))
        middles = reach * (2 * (places + 0.5) / len(places) - 1)
        _style.theory(axes, middles, prediction(result, "mass").isel(at), drawstyle="steps-mid")
        _style.simulation(axes, middles, (mean.isel(at), error.isel(at)))
        for side in (-1, 1):
            axes.axvline(side * float(edges.isel(at)), color="0.6", linewidth=0.7, zorder=0)
        axes.set(title=f"$h/d$ = {ratio:g}", xlabel="eigenvalue (lines: edges)", yscale="log")
    _style.decades(*panels)
    panels[0].set_ylabel("share of eigenvalues in a bin")
    last = panels[-1]
    for index, (field, label) in enumerate(
        {"edge": "edge", "second": "mean $\\lambda^2$", "fourth": "mean $\\lambda^4$"}.items()
    ):
        _style.theory(last, ratios, prediction(result, field), index, label)
        _style.simulation(last, ratios, statistics(result, field), index)
    last.set(xlabel="hidden units over inputs $h/d$", xscale="log", yscale="log")
    last.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
    last.minorticks_off()
    _style.legend(last, result["simulation"].sizes["seed"], "law", point="networks", above=True, ncols=5)
    return figure
