"""The inverse of the critical weight of distillation against the squared leak of the filter, and the task error behind it."""

import numpy as np

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    leaks, weights = simulated["leak"].values, simulated["weight"].values
    figure, (left, right) = _style.panels(columns=2, height=2.8)
    order = np.argsort(leaks)
    mean = [values.isel(leak=order).values for values in statistics(result, "inverse")]
    _style.compare(left, leaks**2, result, "inverse", shade=_style.ALONE, linestyle="", marker="_", markersize=9)
    ranked = sorted(config.variances, reverse=True)
    if config.num_features <= len(ranked):
        fine = np.linspace(0, np.max(leaks) ** 2, 200)
        line = np.maximum(fine * ranked[config.num_features - 1] - 1, 0) / config.coefficient**2
        _style.theory(left, fine, line, color=_style.ALONE)
    left.set(xlabel="squared leak $e^2$", ylabel="$1/\\alpha_*$", ylim=(-0.1, 1.25 * max(np.max(mean[0]), 0.1)))
    error = statistics(result, "task_error")
    for index, leak in enumerate(leaks.tolist()):
        values = [one.sel(leak=leak).values for one in error]
        _style.measured(right, weights, values, index, f"$e$ = {leak:g}", filled=index >= 6)
    right.set(xlabel="$1/\\alpha$", ylabel="relative task error")
    right.legend(ncols=2, loc="center left", fontsize=6)
    _style.legend(left, simulated.sizes["seed"], "predicted", point="descent", loc="upper left")
    return figure
