"""Inner product against time for both flows, hitting times, and layers: exact curves through simulated points."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    seeds = result["simulation"].sizes["seed"]
    betas, levels, sizes = config.betas, config.levels, config.step_sizes
    figure, panels = _style.panels(columns=2, rows=2)
    gamma, hitting, layers = (prediction(result, field) for field in ("gamma", "hitting", "layers"))
    share = np.arange(1, gamma.sizes["record"] + 1) / gamma.sizes["record"]
    (mean, error), (hit, hit_error), (deep, deep_error) = (
        statistics(result, field) for field in ("gamma", "hitting", "layers")
    )
    for flow, (axes, name) in enumerate(zip(panels[0], ("softmax (SA)", "unnormalised (USA)"), strict=True)):
        for index, beta in enumerate(betas):
            at = {"flow": flow, "beta": index}
            _style.theory(axes, share, gamma.isel(at), index, f"$\\beta$ = {beta:g}")
            _style.simulation(axes, share, (mean.isel(at), error.isel(at)), index)
        axes.set(title=name, xlabel=f"time  (until $\\gamma$ = {config.end:g})", ylabel="inner product $\\gamma$")
    left, right = panels[1]
    for index, level in enumerate(levels):
        for flow, style in enumerate(("-", "--")):
            at = {"flow": flow, "level": index}
            _style.theory(left, betas, hitting.isel(at), index, None if flow else f"$\\gamma$ = {level:g}", linestyle=style)
            _style.simulation(left, betas, (hit.isel(at), hit_error.isel(at)), index)
    left.set(xlabel="inverse temperature $\\beta$", ylabel="hitting time", yscale="log")
    left.plot([], [], color="0.35", linestyle="--", label="USA, time $\\times e^\\beta$")
    left.legend()
    numbers = np.arange(layers.sizes["layer"])
    for index, size in enumerate(sizes):
        at = {"size": index}
        _style.theory(right, numbers, layers.isel(at), index, f"$\\eta$ = {size:g}")
        _style.theory(right, numbers, prediction(result, "layers", "prediction_continuous").isel(at), index, linestyle=":")
        _style.simulation(right, numbers, (deep.isel(at), deep_error.isel(at)), index)
    right.plot([], [], color="0.35", linestyle=":", label="as if continuous")
    right.set(xlabel="layer", ylabel="inner product", title=f"layers, $\\beta$ = {config.layer_beta:g}", ylim=(-0.05, 1.4))
    right.legend(loc="upper right", ncols=2)
    _style.legend(panels[0, 0], seeds, "exact", above=True, point="tokens", ncols=6)
    return figure
