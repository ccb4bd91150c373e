"""What the figures of optima share: a panel for each field, curves beside one another."""

from .. import _style

PANELS = {
    "error": "error",
    "training_loss": "training loss",
    "overlap": "overlap  $m = \\theta \\cdot w/d$",
    "norm": "norm  $q = |w|^2/d$",
    "response": "response  $V = \\mathrm{tr}\\, H^{-1}/d$",
}


def draw(result, x, xlabel, curves, logarithmic):
    """Against x; `curves` are pairs of a name and a place in the result, `logarithmic` the fields on a logarithmic axis."""
    figure, axes = _style.panels(columns=2, rows=3, height=2.0, sharex=True)
    *panels, rest = axes.ravel()
    for panel, (field, name) in zip(panels, PANELS.items(), strict=True):
        for index, (curve, place) in enumerate(curves):
            _style.compare(panel, x, result, field, index, curve, place)
        panel.set(xscale="log", yscale="log" if field in logarithmic else "linear", ylabel=name)
        _style.log_ticks(panel.xaxis, x)
    rest.set_axis_off()
    for panel in panels[3:]:
        panel.tick_params(labelbottom=True)
        panel.set_xlabel(xlabel)
    _style.legend(panels[0], result["simulation"].sizes["seed"], above=True, point="optimum", ncols=2)
    return figure
