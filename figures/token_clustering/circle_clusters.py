"""Growth rate against mode for both flows, and the number of clusters: theory through simulated points."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

FLOWS = {"SA": "softmax (SA)", "USA": "unnormalised (USA), time $\\times e^\\beta$"}


def draw(result, config):
    simulated, betas = result["simulation"], config.betas
    figure, panels = _style.panels(columns=2, rows=2)
    naive = prediction(result, "growth", "prediction_unsquared")
    clusters = prediction(result, "clusters", "prediction_fastest")
    modes = simulated["mode"].values
    for axes, (flow, title) in zip(panels[0], FLOWS.items(), strict=True):
        for index, beta in enumerate(betas):
            at = {"flow": flow, "beta": beta}
            _style.compare(axes, modes, result, "growth", index, f"$\\beta$ = {_style.texts(betas)[index]}", at)
            _style.rival(axes, modes, naive.sel(at), index)
        axes.set(title=title, xlabel="mode $k$, periods round the circle", ylabel="growth rate $\\sigma_k$", ylim=(0, None))
    _style.rival(panels[0, 0], [], [], label="$\\sigma_k/k$", color="0.35")
    left, right = panels[1]
    times = config.end_time * simulated["time"].values
    groups, number = statistics(result, "groups"), statistics(result, "clusters")
    for index, beta in enumerate(betas):
        for place, flow in enumerate(FLOWS):
            at = {"flow": flow, "beta": beta}
            _style.measured(left, times, [values.sel(at) for values in groups], index, filled=place == 1)
            one = [np.atleast_1d(values.sel(at)) for values in number]
            _style.measured(right, [beta + 0.15 * place], one, index, filled=place == 1)
        _style.rival(left, [0, times[-1]], 2 * [float(clusters.sel(flow="SA", beta=beta))], index)
    left.axvline(config.count_time, color="0.6", linewidth=0.7, zorder=0)
    left.set(xlabel="time  (in $1/\\max_k \\sigma_k$; grey: count on the right)", ylabel="clusters", ylim=(0, None))
    fine, fastest = _style.along(result, "clusters", betas, {"flow": "SA"}, "prediction_fastest")
    _style.rival(right, fine, fastest, color="0.35", label="fastest mode, no law")
    for place, flow in enumerate(FLOWS):
        face = "0.35" if place else "white"
        right.plot([], [], "o", color="0.35", markersize=2.6, markeredgewidth=0.4, markerfacecolor=face, label=flow)
    right.set(xlabel="inverse temperature $\\beta$", ylabel="metastable clusters", ylim=(0, None))
    right.legend(loc="lower right")
    _style.legend(panels[0, 0], simulated.sizes["seed"], above=True, point="tokens", ncols=6)
    return figure
