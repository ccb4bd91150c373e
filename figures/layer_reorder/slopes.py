"""Changes of the output against depth with their leading terms, their slopes, and what the leading terms miss."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels

LENGTH = "model.correlation_length"
KINDS = {
    "skip": "skip one",
    "swap": "swap two",
    "parallel pair": "two side by side",
    "reversal": "reverse {window}",
    "parallel window": "{window} side by side",
}


def draw(result, config):
    depths, everything = np.array(config.depths), len(KINDS)
    names = [name.format(window=config.window) for name in KINDS.values()]
    cells = _style.cells(result, LENGTH)
    figure, panels = _style.panels(columns=2 if len(cells) == 2 else len(cells) + 2, rows=2 if len(cells) == 2 else 1)
    *changes, slopes, misses = np.ravel(panels)

    def found(field, at):
        mean, error = statistics(result, field)
        return mean.sel(at), error.sel(at)

    def slope(field, at, index, place):
        mean, error = found(field, at)
        _panels.marks(slopes, [place], prediction(result, field).sel(at).values[None], index)
        _style.simulation(slopes, [place], (mean.values[None], error.values[None]), index)

    for place, (axes, cell) in enumerate(zip(changes, cells, strict=True)):
        shift = 0.3 * place - 0.15
        for index, (kind, name) in enumerate(zip(KINDS, names, strict=True)):
            at = {**cell, "kind": kind}
            _style.compare(axes, depths, result, "change", index, name, at)
            slope("slope", at, index, index + shift)
            if place == 0:
                _style.measured(misses, depths, found("missed", at), index)
        _style.measured(axes, depths, found("everything", cell), everything, "all side by side")
        slope("everything_slope", cell, everything, everything + shift)
        length = cell.get(LENGTH, config.model.correlation_length)
        title = "independent layers" if length == 0 else f"smooth in depth, correlation length {_style.texts([length])[0]}"
        axes.set(title=title, ylabel="mean change of the output")
    _style.rival(misses, depths, 1 / depths, label="$1/L$", color="0.6")
    misses.set(title=changes[0].get_title(), ylabel="part that the leading term misses")
    misses.legend()
    for axes in (*changes, misses):
        axes.set(xscale="log", yscale="log", xlabel="layers $L$, step $1/L$")
        _style.log_ticks(axes.xaxis, depths)
    slopes.set_xticks(range(everything + 1), [*names, "all side by side"], rotation=30, ha="right")
    slopes.set(ylabel="slope" + (" (right: smooth)" if len(cells) == 2 else ""), ylim=(-3.4, 0.4))
    _style.legend(changes[0], result["simulation"].sizes["seed"], "leading term", above=True, point="stacks", ncols=4)
    return figure
