"""A coordinate check: change of every layer after a step against the width in three scalings, and the slopes beside theory."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

SCALING = "scaling"
NAMES = {"standard": "standard", "mean_field": "mean-field", "maximal_update": "maximal update"}
DASH = {"linestyle": "", "marker": "_", "markersize": 9, "markeredgewidth": 1.2}


def draw(result, config):
    cells = _style.cells(result, SCALING)[:3]
    layers, widths = result["simulation"]["layer"].values, result["simulation"]["width"].values
    places = np.arange(len(layers))
    figure, (above, (initial, first, last)) = _style.panels(columns=3, rows=2)
    change, error = statistics(result, "change")
    for axes in above[len(cells) :]:
        axes.set_axis_off()
    for index, (axes, cell) in enumerate(zip(above, cells, strict=False)):
        name = NAMES[cell.get(SCALING, config.scaling)]
        for place, layer in enumerate(layers):
            at = {**cell, "layer": layer, "update": 1}
            mean = change.sel(at).values
            _style.measured(axes, widths, (mean, error.sel(at).values), place, None, filled=True)
            slope = float(prediction(result, "first_slope").sel({**cell, "layer": layer}))
            through = _middle(mean) * (widths / _middle(widths)) ** slope
            _style.rival(axes, widths, through, place, layer if axes is above[0] else None)
        axes.set(xscale="log", yscale="log", xlabel="width $n$", title=name)
        _style.log_ticks(axes.xaxis, widths)
        shifted = places + 0.2 * (index - (len(cells) - 1) / 2)
        for panel, field in ((initial, "initial_slope"), (first, "first_slope")):
            label = name if panel is initial else None
            _style.theory(panel, shifted, prediction(result, field).sel(cell), index, label, **DASH)
            points = [values.sel(cell) for values in statistics(result, field)]
            _style.simulation(panel, shifted, points, index)
        hidden = {**cell, "layer": layers[-2]}
        for step in result["simulation"]["update"].values[[0, -1]]:
            at = {**hidden, "update": step}
            filled = step == result["simulation"]["update"].values[-1]
            _style.measured(last, widths, (change.sel(at), error.sel(at)), index, None, filled)
    above[0].set_ylabel("rms change after one step")
    for panel, label in ((initial, "slope of ln rms $h_l$ at the start"), (first, "slope of ln rms change, one step")):
        panel.axhline(0, color="0.8", linewidth=0.5, zorder=0)
        panel.set_xticks(places, layers, rotation=20)
        panel.set(ylabel=label, xlim=(-0.5, len(layers) - 0.5))
    last.set(xscale="log", yscale="log", xlabel="width $n$", ylabel=f"rms change of {layers[-2]}, steps 1, {config.num_steps}")
    _style.log_ticks(last.xaxis, widths)
    for axes in above[: len(cells)]:
        low, high = axes.get_ylim()
        axes.set_ylim(low / 1.5, high * 1.5)
    low, high = above[0].get_ylim()
    above[0].set_ylim(low, high * (high / low) ** 0.35)
    above[0].legend(loc="upper left", handlelength=2, ncols=2)
    _style.legend(initial, result["simulation"].sizes["seed"], None, above=True, point="networks", ncols=5)
    return figure


def _middle(values):
    """The geometric mean."""
    return np.exp(np.mean(np.log(values)))
