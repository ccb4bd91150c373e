"""Accuracy on test points, objective and margin on training points, clean and attacked, of six networks on each data set."""

import numpy as np
from matplotlib.lines import Line2D

from ...sweeps import prediction, statistics
from .. import _style

METHODS = {
    "descent": "descent",
    "descent on FGSM": "descent\nFGSM",
    "descent on PGD": "descent\nPGD",
    "convex": "convex",
    "robust affine": "robust\naffine",
    "robust convex": "robust\nconvex",
}
TITLES = {"digits": "digits 3 and 8", "breast_cancer": "breast cancer"}
TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1)


def draw(result, config):
    simulated = result["simulation"]
    swept = "data" in simulated.dims
    kinds = simulated["data"].values if swept else [config.data]
    names, inputs = simulated["method"].values, simulated["input"].values
    seeds = simulated.sizes["seed"]
    figure, panels = _style.panels(len(kinds), 3, height=1.9, squeeze=False, sharex=True, sharey="row")
    methods = np.arange(len(names))
    for kind, (above, below, last) in zip(kinds, panels.T, strict=True):
        data = {"data": kind} if swept else {}
        for axes, field in ((above, "accuracy"), (below, "objective"), (last, "margins")):
            for index, name in enumerate(inputs):
                mean, error = (part.sel(data).sel(input=name) for part in statistics(result, field))
                _style.simulation(axes, methods + 0.2 * (index - 1), (mean, error), index)
        for axes, field, index in ((below, "ordinary", 0), (below, "worst", 2), (last, "margin", 2)):
            bound = np.ravel(prediction(result, field).sel(data))[-1]
            axes.plot([-0.5, len(names) - 0.5], [bound, bound], color=_style.COLOURS[index], linewidth=0.8, zorder=2)
        usable = statistics(result, "usable")[0].sel(data)
        gaussian, bisectors = (float(usable.sel(kind=gates)) for gates in ("Gaussian", "bisectors"))
        above.set_title(f"{TITLES[str(kind)]}, box ±{config.radius:g}")
        below.set(yscale="log")
        last.set(xlabel=f"usable: {bisectors:.0%} of bisectors, {gaussian:.0%} of random gates")
        last.set_xticks(methods, [METHODS[name] for name in names], fontsize=6.5)
        _style.log_ticks(below.yaxis, TICKS)
    panels[0, 0].set_ylabel("accuracy, test points")
    panels[1, 0].set_ylabel("objective, training points")
    panels[2, 0].set_ylabel("mean margin, training points")
    words = [f"{name}, {seeds} seeds ± SE" if name == "clean" else name for name in inputs]
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=3.2, markerfacecolor="white", linestyle="", label=name)
        for colour, marker, name in zip(_style.COLOURS, _style.MARKERS, words, strict=False)
    ]
    for index, name in ((0, "convex program"), (2, "robust program, in the box")):
        handles.append(Line2D([], [], color=_style.COLOURS[index], linewidth=0.8, label=name))
    figure.legend(handles=handles, loc="outside upper center", ncols=5 if len(kinds) > 1 else 2)
    return figure
