"""Mean square change of the output against the number of layers in random order, and over the number of inverted pairs."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    windows = np.array(config.windows)
    figure, (left, right) = _style.panels(columns=2, height=2.5)
    mean, error = statistics(result, "mean_square")
    predicted = prediction(result, "mean_square")
    _style.theory(left, windows, predicted, 0, "random order")
    _style.simulation(left, windows, (mean, error), 0)
    swap, swap_error = (np.asarray(one)[None] for one in statistics(result, "swap"))
    left.plot([2], [float(prediction(result, "swap"))], color=_style.COLOURS[1], linestyle="", marker="_", markersize=11)
    left.lines[-1].set_label("one swap")
    _style.simulation(left, [2], (swap, swap_error), 1)
    left.set(yscale="log", ylabel="mean square change of the output")
    pairs = windows * (windows - 1) / 4
    _style.theory(right, windows, predicted / pairs)
    _style.simulation(right, windows, (mean / pairs, error / pairs))
    right.axhline(float(swap[0]), color=_style.COLOURS[1], linestyle=":", label="one swap")
    right.set(ylabel="over $K(K-1)/4$ inverted pairs", ylim=(0, 1.3 * float((mean / pairs).max())))
    for axes in (left, right):
        axes.set(xscale="log", xlabel="layers in random order $K$")
        axes.set_xticks(windows, [str(window) for window in windows])
        axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    _style.legend(left, result["simulation"].sizes["seed"], "inverted pairs", point="stacks")
    right.legend()
    return figure
