"""Overlap, norm, response, error and training loss of logistic regression against samples per dimension, for two ridges."""

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
        for index, ridge in enumerate(config.ridges):
            _style.compare(panel, config.ratios, result, field, index, f"$\\lambda = {ridge:g}$", {"ridge": ridge})
        panel.set(xscale="log", ylabel=name)
        _style.log_ticks(panel.xaxis, config.ratios)
    for panel in panels[2:]:
        panel.set_yscale("log")
    rest.set_axis_off()
    for panel in (panels[3], panels[4]):
        panel.tick_params(labelbottom=True)
        panel.set_xlabel("samples per dimension  $\\alpha = n/d$")
    _style.legend(panels[0], result["simulation"].sizes["seed"], above=True, point="optimum", ncols=2)
    return figure
