"""The regularisation path: optimum, gated optimum, trained networks, certificate and number of neurons."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    shares = simulated["weight_decay_share"].values
    seeds = simulated.sizes["seed"]
    figure, (left, middle, right) = _style.panels(columns=3)
    _style.compare(left, shares, result, "objective", 0, "ReLU program")
    _style.compare(left, shares, result, "gated", 1, "gated program")
    left.set(ylabel="objective / zero network's", yscale="log")
    _style.legend(left, seeds, "bound or program", point="network")
    above = simulated["trained"].values / prediction(result, "objective").values[:, None] - 1
    for seed in range(seeds):
        middle.plot(shares, np.maximum(above[:, seed], 1e-10), "o", color=_style.COLOURS[2], markersize=2.5, alpha=0.6)
    middle.set(yscale="log", ylabel="Adam's objective / optimum $-$ 1")
    middle.set_title(f"width {config.width}, {seeds} seeds")
    _style.compare(right, shares, result, "certificate", 0, "$N(\\nu)/\\beta$")
    right.set(ylim=(0, 1.15), ylabel="certificate $N(\\nu)/\\beta$")
    _style.legend(right, seeds, "theory", point="convex network", loc="lower left")
    twin = right.twinx()
    twin.spines["right"].set_visible(True)
    mean, _ = statistics(result, "neurons")
    for index, name in enumerate(mean["network"].values):
        look = {"color": _style.COLOURS[3 + index], "markersize": 3, "label": name}
        twin.plot(shares, mean.sel(network=name), _style.MARKERS[3 + index], **look)
    twin.set(ylabel="distinct neurons", ylim=(0, None))
    twin.legend(loc="center left", title="neurons", title_fontsize=7)
    _style.compare(middle, shares, result, "undercut", 2)
    for axes in (left, middle, right):
        axes.set(xscale="log", xlabel="weight decay $\\beta/\\beta_{max}$")
    return figure
