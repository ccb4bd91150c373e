"""Energies of components, the sum of the filters and the loss, for either labels: exact lines over networks."""

import numpy as np

from ...sweeps import prediction
from .. import _style

NAMES = {"classes": "labels: 5 to 9 against the others", "random": "random labels"}


def draw(result, config):
    simulated = result["simulation"]
    step = simulated["step"].values
    cells = _style.cells(result, "labels")
    figure, panels = _style.panels(columns=3, rows=len(cells), height=2.4, squeeze=False)
    components = np.unique(np.linspace(0, simulated.sizes["component"] - 1, 5).round().astype(int))
    moments = step[:: max(1, (len(step) - 1) // 3)]
    for (left, middle, right), cell in zip(panels, cells, strict=True):
        labels = cell.get("labels", config.labels)
        for index, component in enumerate(components.tolist()):
            at = {**cell, "component": component}
            _style.compare(left, step, result, "energies", index, f"$i$ = {component + 1}", at)
            if labels == "random":
                _style.rival(left, step, prediction(result, "energies", "prediction_expected").sel(at), index)
        for index, moment in enumerate(moments.tolist()):
            at, shade = {**cell, "step": moment}, _style.tint(len(moments) - 1 - index, len(moments))
            weight = 1 + np.arange(simulated.sizes["weight"])
            _style.compare(middle, weight, result, "effective", index, f"{moment}", at, shade)
        _style.compare(right, step, result, "loss", at=cell, shade=_style.ALONE)
        left.set(yscale="log", xlabel="updates $t$", ylabel="energy $e_i^2$ of component $i$", title=NAMES[labels])
        middle.axhline(0, color="0.8", linewidth=0.6, zorder=0)
        middle.set(xlabel="weight", ylabel="sum of the filters", title="after $t$ updates")
        right.set(xlabel="updates $t$", ylabel="mean squared error")
        for axes in (left, right):
            axes.set_xscale("symlog", linthresh=1)
            axes.set_xlim(-0.3, 1.6 * max(step[-1], 1))
        middle.legend(ncols=2)
    if "random" in [cell.get("labels", config.labels) for cell in cells]:
        _style.rival(panels[0, 0], [], [], color="0.35", label="mean over draws")
    _style.legend(panels[0, 0], simulated.sizes["seed"], "exact", above=True, point="networks", ncols=8)
    return figure
