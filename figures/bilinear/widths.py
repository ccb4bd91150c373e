"""Likeness of eigenvectors across seeds by place and width, before and after training, and accuracy with few of them."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels


def draw(result, config):
    swept = "width" in result["simulation"].dims
    widths = result["simulation"]["width"].values if swept else [config.width]
    figure, (left, right) = _style.panels(columns=2)
    places = 1 + np.arange(result["simulation"].sizes["place"])
    for index, width in enumerate(widths):

        def of(values, width=width):
            return values.sel(width=width) if swept else values

        trained, untrained, kept = (tuple(map(of, statistics(result, field))) for field in ("similarity", "untrained", "kept"))
        _panels.measured(left, places, trained, index, f"width {width}")
        _style.theory(left, places, of(prediction(result, "untrained")), index)
        _style.simulation(left, places, untrained, index)
        _panels.measured(right, config.num_kept, (1 - kept[0], kept[1]), index, f"width {width}")
        full = 1 - float(of(statistics(result, "accuracy")[0]))
        right.axhline(full, color=_style.COLOURS[index], linewidth=0.7, linestyle=":", zorder=0)
    left.set(xlabel="place of the eigenvector", ylabel="|cosine| across seeds", ylim=(0, 1))
    right.set(xscale="log", yscale="log", xlabel="eigenvectors kept of every digit", ylabel="test error (dotted: all kept)")
    right.set_xticks(config.num_kept, [str(number) for number in config.num_kept])
    right.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    _style.legend(
        left, result["simulation"].sizes["seed"], "independent directions", point="pairs of networks", loc="upper right"
    )
    return figure
