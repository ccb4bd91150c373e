"""The staircase of singular values in rescaled time for three scales of the start, the delay law, and errors of low rank."""

import numpy as np

from .. import _style


def draw(result, config):
    record = result["simulation"]["record"].values
    figure, panels = _style.panels(columns=3, rows=2, height=2.4)
    stairs, (delays, ranks, halves) = panels[0], panels[1]
    scales = config.init_scales[:1] + config.init_scales[1:][-2:]
    for axes, scale in zip(stairs, scales, strict=False):
        for index, s in enumerate(config.spectrum):
            axes.axvline(1 / s, color="0.85", linewidth=0.6, zorder=0)
            axes.axhline(s, color="0.85", linewidth=0.6, zorder=0)
            _style.compare(axes, record, result, "values", index, at={"scale": scale, "mode": s})
        axes.set(title=f"a = {scale:g}", xlabel="time over ln(1/a)", ylabel="singular values of $W_2 W_1$")
    for axes in stairs[len(scales) :]:
        axes.set_axis_off()
    modes = np.array(config.spectrum)
    for pair in range(len(config.init_scales) - 1):
        large, small = config.init_scales[pair : pair + 2]
        label = f"{large:g} to {small:g}"
        _style.compare(delays, modes, result, "delay", pair, label, {"pair": pair}, _style.tint(pair, 2))
    delays.set(xscale="log", xlabel="singular value $s$", ylabel="delay times s over ln(a/a')", ylim=(0.985, 1.015))
    for index, scale in enumerate(config.init_scales):
        look = _style.tint(index, len(config.init_scales))
        rank = np.arange(1, len(modes))
        _style.compare(ranks, rank, result, "rank_error", index, f"a = {scale:g}", {"scale": scale}, look)
        values = [part.sel(scale=scale) for part in _style.statistics(result, "half_time")]
        _style.measured(halves, modes, values, index, f"a = {scale:g}")
    halves.axhline(1, color="0.6", linewidth=0.7, zorder=0)
    halves.set(xscale="log", xlabel="singular value $s$", ylabel="half time times s over ln(1/a)")
    ranks.set(yscale="log", xlabel="rank", ylabel="distance from the best of this rank", xticks=list(range(1, len(modes))))
    for axes in (delays, ranks, halves):
        axes.legend()
    _style.legend(stairs[0], result["simulation"].sizes["seed"], "theory", above=True, point="gradient descent", ncols=4)
    for axes in (delays, halves):
        _style.log_ticks(axes.xaxis, modes)
    return figure
