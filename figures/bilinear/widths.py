"""Likeness of eigenvectors across seeds by place and width, before and after training, and accuracy with few of them."""

import numpy as np

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    swept = "width" in simulated.dims
    widths = simulated["width"].values if swept else [config.width]
    figure, (left, right) = _style.panels(columns=2)
    places, sizes = 1 + np.arange(simulated.sizes["place"]), simulated["size"].values
    for index, width in enumerate(widths):
        at = {"width": width} if swept else {}
        trained, kept = ([part.sel(at) for part in statistics(result, field)] for field in ("similarity", "kept"))
        _style.measured(left, places, trained, index, f"width {width}")
        _style.compare(left, places, result, "untrained", index, at=at)
        _style.measured(right, sizes, (1 - kept[0], kept[1]), index, f"width {width}")
        full = 1 - float(statistics(result, "accuracy")[0].sel(at))
        right.axhline(full, color=_style.COLOURS[index], linewidth=0.7, linestyle=":", zorder=0)
    left.set(xlabel="place of the eigenvector", ylabel="|cosine| across seeds", ylim=(0, 1))
    right.set(xscale="log", yscale="log", xlabel="eigenvectors kept of every digit", ylabel="test error (dotted: all kept)")
    _style.log_ticks(right.xaxis, sizes)
    _style.legend(left, simulated.sizes["seed"], "independent directions", point="pairs of networks", loc="upper right")
    return figure
