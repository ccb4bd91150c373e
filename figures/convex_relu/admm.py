"""Error of ADMM against the iteration, for each penalty; its count and rate beside those predicted."""

import numpy as np

from ...sweeps import prediction
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    penalties = simulated["rho"].values
    figure, ((left, lower), (middle, right)) = _style.panels(columns=2, rows=2)
    iterations = simulated["iteration"].values
    for index, rho in enumerate(penalties):
        cell = dict(rho=rho, seed=simulated["seed"].values[0])
        colour = _style.COLOURS[index]
        error = simulated["error"].sel(cell).values
        kept = np.unique(np.geomspace(1, len(iterations), 24).astype(int)) - 1
        look = {"color": colour, "markersize": 2.6, "markeredgewidth": 0.5, "markerfacecolor": "white"}
        label = f"$\\rho$ = {_style.texts(penalties)[index]}"
        left.plot(iterations[kept], np.maximum(error, 1e-12)[kept], _style.MARKERS[index], label=label, **look)
        _style.path(left, iterations, np.maximum(simulated["proved"].sel(cell).values, 1e-12), index)
        rate = float(prediction(result, "rate").sel(rho=rho))
        start = int(np.argmax(error < 1e-5)) if (error < 1e-5).any() else 0
        slope = 1e-5 * rate ** (np.arange(len(iterations) - start))
        keep = slope > 1e-9
        _style.rival(left, iterations[start:][keep], 3 * slope[keep], index)
    left.plot([], [], "o", color="0.35", markersize=2.6, markerfacecolor="white", label="error of the network")
    left.plot([], [], color="0.35", linewidth=0.4, alpha=0.6, label="verified gap")
    _style.rival(left, [], [], label="predicted rate", color="0.35")
    left.set(yscale="log", ylim=(1e-9, 10), xscale="log", xlabel="iteration", ylabel="relative to $p^*$")
    left.legend()
    for axes, field, label in (
        (middle, "iterations", "iterations to tolerance"),
        (right, "rate", "rate: shrinking per iteration"),
        (lower, "objective", "objective at the end"),
    ):
        _style.compare(axes, penalties, result, field)
        axes.set(xscale="log", xlabel="penalty $\\rho$", ylabel=label)
        _style.log_ticks(axes.xaxis, penalties)
    line = "as printed, matrix formed"
    _style.legend(middle, simulated.sizes["seed"], line, point="factorised")
    _style.legend(right, simulated.sizes["seed"], "spectral radius", point="measured")
    _style.legend(lower, simulated.sizes["seed"], "optimum by interior point", point="ADMM")
    optimum = float(prediction(result, "objective").values.ravel()[0])
    lower.set(ylim=(optimum * (1 - 1e-5), optimum * (1 + 2e-5)))
    return figure
