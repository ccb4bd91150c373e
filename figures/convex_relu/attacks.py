"""Accuracy on test points, objective and margin on training points, clean and attacked, of six networks on each data set."""

import numpy as np
from matplotlib.lines import Line2D

from ...sweeps import prediction, statistics
from .. import _style

METHODS = ("descent", "descent\nFGSM", "descent\nPGD", "convex", "robust\naffine", "robust\nconvex")
INPUTS = ("clean", "FGSM", "PGD")
TITLES = {"digits": "digits 3 and 8", "breast_cancer": "breast cancer"}
TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1)


def draw(result, config):
    swept = "data" in result["simulation"].dims
    kinds = result["simulation"]["data"].values if swept else [config.data]
    figure, panels = _style.panels(len(kinds), 3, height=1.9, squeeze=False, sharex=True, sharey="row")
    methods = np.arange(len(METHODS))

    def of(values, kind):
        return values.sel(data=kind) if swept else values

    for kind, (above, below, last) in zip(kinds, panels.T, strict=True):
        for axes, field in ((above, "accuracy"), (below, "objective"), (last, "margins")):
            mean, error = (of(values, kind) for values in statistics(result, field))
            for index in range(len(INPUTS)):
                at = {"input": index}
                _style.simulation(axes, methods + 0.2 * (index - 1), (mean.isel(at), error.isel(at)), index)
        for axes, field, index in ((below, "ordinary", 0), (below, "worst", 2), (last, "margin", 2)):
            bound = np.ravel(of(prediction(result, field), kind))[-1]
            axes.plot([-0.5, len(METHODS) - 0.5], [bound, bound], color=_style.COLOURS[index], linewidth=0.8, zorder=2)
        gaussian, bisectors = np.asarray(of(statistics(result, "usable")[0], kind))
        above.set_title(f"{TITLES[str(kind)]}, box ±{config.radius:g}")
        below.set(yscale="log")
        last.set(xlabel=f"usable: {bisectors:.0%} of bisectors, {gaussian:.0%} of random gates")
        last.set_xticks(methods, METHODS, fontsize=6.5)
        below.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
        below.minorticks_off()
    panels[0, 0].set_ylabel("accuracy, test points")
    panels[1, 0].set_ylabel("objective, training points")
    panels[2, 0].set_ylabel("mean margin, training points")
    seeds = result["simulation"].sizes["seed"]
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=3.2, markerfacecolor="white", linestyle="", label=name)
        for colour, marker, name in zip(
            _style.COLOURS, _style.MARKERS, (f"clean, {seeds} seeds ± SE", *INPUTS[1:]), strict=False
        )
    ]
    for index, name in ((0, "convex program"), (2, "robust program, in the box")):
        handles.append(Line2D([], [], color=_style.COLOURS[index], linewidth=0.8, label=name))
    figure.legend(handles=handles, loc="outside upper center", ncols=5 if len(kinds) > 1 else 2)
    return figure
