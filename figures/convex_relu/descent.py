"""Objective of gradient descent against the step, every seed, above the optimum of the convex program; where the runs end."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    seeds = simulated.sizes["seed"]
    optimum = float(prediction(result, "objective"))
    steps = simulated["record"].values
    figure, (left, right, last) = _style.panels(columns=3)
    for index, (network, width) in enumerate({"narrow": config.narrow, "wide": config.wide}.items()):
        for seed in range(seeds):
            above = simulated["curve"].sel(network=network).isel(seed=seed).values - optimum
            _style.path(left, steps, np.maximum(above, 1e-12), index)
        left.plot([], [], color=_style.COLOURS[index], linewidth=0.6, label=f"width {width}")
        ends = np.sort(simulated["final"].sel(network=network).values)
        right.plot(np.arange(1, seeds + 1), ends, _style.MARKERS[index], color=_style.COLOURS[index], markersize=3.2)
    left.set(
        yscale="log", ylim=(1e-8, None), xlabel="step", ylabel="objective $-\\; p^*$", xticks=[0, steps[-1] // 2, steps[-1]]
    )
    left.set_title(f"Adam, {seeds} seeds each, $\\beta$ = {config.weight_decay:g}")
    left.legend()
    right.axhline(optimum, color="0.35", label=f"$p^*$ = {optimum:.6g}")
    right.errorbar(seeds + 1, *(float(v) for v in statistics(result, "objective")), fmt="k.", label="mean of the wide ± SE")
    right.set(xlabel="seed, sorted", ylabel="objective at the end")
    right.legend()
    names = {
        "certificate": "$N(\\nu)/\\beta$\nconvex",
        "trained": "$N(\\nu)/\\beta$\ntrained",
        "undercut": "below $p^*$\n(narrow, wide)",
    }
    for index, field in enumerate(names):
        mean, error = (np.ravel(values) for values in statistics(result, field))
        at = index + np.linspace(-0.1, 0.1, mean.size) if mean.size > 1 else np.array([index])
        last.hlines(np.ravel(prediction(result, field)), index - 0.3, index + 0.3, color=_style.ALONE)
        last.plot(at, np.ravel(prediction(result, field)), "_", color=_style.ALONE, markersize=14)
        last.errorbar(at, mean, yerr=error, fmt=_style.MARKERS[index], color=_style.ALONE, markerfacecolor="white")
    last.set(ylim=(-0.1, 1.2), xlim=(-0.5, 2.5), ylabel="theory (line), mean (point)")
    last.set_xticks(range(len(names)), list(names.values()))
    return figure
