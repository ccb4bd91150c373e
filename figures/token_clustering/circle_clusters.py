"""Growth rate against mode for both flows, and the number of clusters: theory through simulated points."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    seeds, betas = result["simulation"].sizes["seed"], config.betas
    figure, panels = _style.panels(columns=2, rows=2)
    growth, clusters = prediction(result, "growth"), prediction(result, "clusters", "prediction_fastest")
    naive = prediction(result, "growth", "prediction_unsquared")
    (rate, rate_error), (number, number_error), (count, count_error) = (
        statistics(result, field) for field in ("growth", "clusters", "groups")
    )
    modes = np.arange(1, growth.sizes["mode"] + 1)
    for flow, (axes, name) in enumerate(
        zip(panels[0], ("softmax (SA)", "unnormalised (USA), time $\\times e^\\beta$"), strict=True)
    ):
        for index, beta in enumerate(betas):
            at = {"flow": flow, "beta": index}
            _style.theory(axes, modes, growth.isel(at), index, f"$\\beta$ = {beta:g}")
            _style.theory(axes, modes, naive.isel(at), index, linestyle=":", linewidth=0.7)
            _style.simulation(axes, modes, (rate.isel(at), rate_error.isel(at)), index)
        axes.set(title=name, xlabel="mode $k$, periods round the circle", ylabel="growth rate $\\sigma_k$", ylim=(0, None))
    panels[0, 0].plot([], [], color="0.35", linestyle=":", linewidth=0.7, label="$\\sigma_k/k$")
    left, right = panels[1]
    times = config.end * np.arange(1, count.sizes["time"] + 1) / count.sizes["time"]
    for index in range(len(betas)):
        for flow, style in enumerate(("-", "--")):
            at = {"flow": flow, "beta": index}
            left.plot(times, np.asarray(count.isel(at)), color=_style.COLOURS[index], linewidth=0.6, linestyle=style)
        at = {"flow": 0, "beta": index}
        left.axhline(float(clusters.isel(at)), color=_style.COLOURS[index], linewidth=1.2, zorder=0)
        _style.simulation(left, times, (count.isel(at), count_error.isel(at)), index)
    left.axvline(config.count_time, color="0.6", linewidth=0.7, zorder=0)
    left.plot([], [], color="0.35", linewidth=0.6, label="SA")
    left.plot([], [], color="0.35", linewidth=0.6, linestyle="--", label="USA")
    left.set(xlabel="time  (in $1/\\max_k \\sigma_k$)", ylabel="clusters  (thick: fastest mode)", ylim=(0, None))
    left.legend(loc="lower right", ncols=2)
    for flow, name in enumerate(("SA", "USA")):
        _style.simulation(right, betas, (number.isel(flow=flow), number_error.isel(flow=flow)), 1 + flow)
        right.plot([], [], _style.MARKERS[1 + flow], color=_style.COLOURS[1 + flow], markersize=3.2, mfc="white", label=name)
    _style.theory(right, betas, clusters.isel(flow=0), 0, "fastest mode", drawstyle="default")
    right.set(xlabel="inverse temperature $\\beta$", ylabel="metastable clusters", ylim=(0, None))
    right.legend(loc="lower right")
    _style.legend(panels[0, 0], seeds, above=True, point="tokens", ncols=6)
    return figure
