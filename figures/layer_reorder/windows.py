"""Mean square change of the output against the number of layers in random order, and over the number of inverted pairs."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels


def draw(result, config):
    windows = np.array(config.windows)
    figure, (left, right) = _style.panels(columns=2, height=2.5)
    _style.compare(left, windows, result, "mean_square", 0, "random order")
    swap, swap_error = (part.values[None] for part in statistics(result, "swap"))
    _panels.marks(left, [2], prediction(result, "swap").values[None], 1)
    left.lines[-1].set_label("one swap")
    _style.simulation(left, [2], (swap, swap_error), 1)
    left.set(yscale="log", ylabel="mean square change of the output")
    pairs = windows * (windows - 1) / 4
    mean, error = statistics(result, "mean_square")
    _style.theory(right, windows, prediction(result, "mean_square") / pairs)
    _style.simulation(right, windows, (mean / pairs, error / pairs))
    _style.rival(right, windows[[0, -1]], 2 * [float(prediction(result, "swap"))], 1, "one swap")
    right.set(ylabel="over $K(K-1)/4$ inverted pairs", ylim=(0, 1.3 * float((mean / pairs).max())))
    for axes in (left, right):
        axes.set(xscale="log", xlabel="layers in random order $K$")
        _style.log_ticks(axes.xaxis, windows)
    _style.legend(left, result["simulation"].sizes["seed"], "inverted pairs", point="stacks")
    right.legend()
    return figure
