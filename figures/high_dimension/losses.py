"""Error, overlap, norm, response and training loss of several convex losses against the ridge."""

import numpy as np

from .. import _style

PANELS = {
    "error": "error",
    "training_loss": "training loss",
    "overlap": "overlap  $m = \\theta \\cdot w/d$",
    "norm": "norm  $q = |w|^2/d$",
    "response": "response  $V = \\mathrm{tr}\\, H^{-1}/d$",
}


def draw(result, config):
    figure, axes = _style.panels(columns=2, rows=3, height=2.0, sharex=True)
    *panels, rest = axes.ravel()
    for panel, (field, name) in zip(panels, PANELS.items(), strict=True):
        for index, loss in enumerate(np.asarray(result["simulation"]["loss"]).tolist()):
            _style.compare(panel, config.ridges, result, field, index, loss, {"loss": loss})
        panel.set(xscale="log", ylabel=name)
        _style.log_ticks(panel.xaxis, config.ridges)
    for panel in panels[1:]:
        panel.set_yscale("log")
    rest.set_axis_off()
    for panel in (panels[3], panels[4]):
        panel.tick_params(labelbottom=True)
        panel.set_xlabel("ridge  $\\lambda$")
    _style.legend(panels[0], result["simulation"].sizes["seed"], above=True, point="optimum", ncols=2)
    return figure
