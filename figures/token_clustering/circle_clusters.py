"""Growth rate against mode for both flows, and the number of clusters: theory through simulated points."""

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
            _style.theory(axes, modes, naive.sel(at), index, linestyle=":", linewidth=0.7)
        axes.set(title=title, xlabel="mode $k$, periods round the circle", ylabel="growth rate $\\sigma_k$", ylim=(0, None))
    panels[0, 0].plot([], [], color="0.35", linestyle=":", linewidth=0.7, label="$\\sigma_k/k$")
    left, right = panels[1]
    times = config.end_time * simulated["time"].values
    count, count_error = statistics(result, "groups")
    for index, beta in enumerate(betas):
        for flow, style in (("SA", "-"), ("USA", "--")):
            curve = count.sel(flow=flow, beta=beta)
            left.plot(times, curve, color=_style.COLOURS[index], linewidth=0.6, linestyle=style)
        at = {"flow": "SA", "beta": beta}
        left.axhline(float(clusters.sel(at)), color=_style.COLOURS[index], linewidth=1.2, zorder=0)
        _style.simulation(left, times, (count.sel(at), count_error.sel(at)), index)
    left.axvline(config.count_time, color="0.6", linewidth=0.7, zorder=0)
    left.plot([], [], color="0.35", linewidth=0.6, label="SA")
    left.plot([], [], color="0.35", linewidth=0.6, linestyle="--", label="USA")
    left.set(xlabel="time  (in $1/\\max_k \\sigma_k$)", ylabel="clusters  (thick: fastest mode)", ylim=(0, None))
    left.legend(loc="lower right", ncols=2)
    number, number_error = statistics(result, "clusters")
    for index, flow in enumerate(FLOWS, start=1):
        _style.simulation(right, betas, (number.sel(flow=flow), number_error.sel(flow=flow)), index)
        right.plot([], [], _style.MARKERS[index], color=_style.COLOURS[index], markersize=3.2, mfc="white", label=flow)
    _style.theory(right, betas, clusters.sel(flow="SA"), 0, "fastest mode", drawstyle="default")
    right.set(xlabel="inverse temperature $\\beta$", ylabel="metastable clusters", ylim=(0, None))
    right.legend(loc="lower right")
    _style.legend(panels[0, 0], simulated.sizes["seed"], above=True, point="tokens", ncols=6)
    return figure
