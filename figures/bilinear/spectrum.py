"""Eigenvalues at initialisation: histogram with the masses of the free-probability law, and edge and moments."""

from ...sweeps import prediction
from .. import _style


def draw(result, config):
    ratios, bins = (result["simulation"][axis].values for axis in ("ratio", "bin"))
    figure, panels = _style.panels(columns=len(ratios) + 1)
    for axes, ratio, text in zip(panels, ratios, _style.texts(ratios), strict=False):
        at = {"ratio": ratio}
        edge = float(prediction(result, "edge").sel(at))
        _style.compare(axes, edge * bins, result, "mass", at=at, shade=_style.ALONE, drawstyle="steps-mid")
        for side in (-edge, edge):
            axes.axvline(side, color="0.6", linewidth=0.7, zorder=0)
        axes.set(title=f"$h/d$ = {text}", xlabel="eigenvalue (lines: edges)", yscale="log")
    _style.decades(*panels)
    panels[0].set_ylabel("share of eigenvalues in a bin")
    last = panels[-1]
    for index, (field, label) in enumerate(
        {"edge": "edge", "second": "mean $\\lambda^2$", "fourth": "mean $\\lambda^4$"}.items()
    ):
        _style.compare(last, ratios, result, field, index, label)
    last.set(xlabel="hidden units over inputs $h/d$", xscale="log", yscale="log")
    _style.log_ticks(last.xaxis, ratios)
    _style.legend(last, result["simulation"].sizes["seed"], "law", point="networks", above=True, ncols=5)
    return figure
