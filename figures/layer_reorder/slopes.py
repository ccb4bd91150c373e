"""Changes of the output against depth with their leading terms, their slopes, and what the leading terms miss."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels

LENGTH = "model.correlation_length"


def draw(result, config):
    least, doublings, window = config.model.num_layers, config.num_doublings, config.window
    depths = least * 2 ** np.arange(doublings + 1)
    names = ("skip one", "swap two", "two side by side", f"reverse {window}", f"{window} side by side")
    lengths = _panels.cells(result, LENGTH)
    figure, panels = _style.panels(columns=2 if len(lengths) == 2 else len(lengths) + 2, rows=2 if len(lengths) == 2 else 1)
    *changes, slopes, misses = np.ravel(panels)
    fields = "change", "everything", "missed", "slope", "everything_slope"
    change, everything, missed, slope, everything_slope = (statistics(result, field) for field in fields)
    for cell, (axes, length) in enumerate(zip(changes, lengths, strict=True)):

        def part(values, length=length):
            return _panels.of(values, LENGTH, length)

        def pair(values, part=part, **at):
            return part(values[0]).isel(at), part(values[1]).isel(at)

        value = config.model.correlation_length if length is None else float(length)
        for index, name in enumerate(names):
            at = {"kind": index}
            predicted = part(prediction(result, "change")).isel(at)
            _style.theory(axes, depths, predicted, index, name)
            _style.simulation(axes, depths, pair(change, **at), index)
            places = np.array([index + 0.3 * cell - 0.15])
            _panels.marks(slopes, places, part(prediction(result, "slope")).isel(at).values[None], index)
            _style.simulation(slopes, places, _one(pair(slope, **at)), index)
            if cell == 0:
                _panels.measured(misses, depths, pair(missed, **at), index)
        _panels.measured(axes, depths, pair(everything), len(names), "all side by side", linestyle=":")
        places = np.array([len(names) + 0.3 * cell - 0.15])
        _panels.marks(slopes, places, part(prediction(result, "everything_slope")).values[None], len(names))
        _style.simulation(slopes, places, _one(pair(everything_slope)), len(names))
        title = "independent layers" if value == 0 else f"smooth in depth, correlation length {value:g}"
        axes.set(title=title, ylabel="mean change of the output")
    misses.plot(depths, 1 / depths, color="0.6", linewidth=0.7, zorder=0, label="$1/L$")
    misses.set(title=changes[0].get_title(), ylabel="part that the leading term misses")
    misses.legend()
    for axes in (*changes, misses):
        axes.set(xscale="log", yscale="log", xlabel="layers $L$, step $1/L$")
        axes.set_xticks(depths, [str(depth) for depth in depths])
        axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    slopes.set_xticks(range(len(names) + 1), [*names, "all side by side"], rotation=30, ha="right")
    slopes.set(ylabel="slope" + (" (right: smooth)" if len(lengths) == 2 else ""), ylim=(-3.4, 0.4))
    _style.legend(changes[0], result["simulation"].sizes["seed"], "leading term", above=True, point="stacks", ncols=4)
    return figure


def _one(statistics):
    mean, error = statistics
    return mean.values[None], error.values[None]
