"""Relative task error of the trained student against the weight of distillation, for several numbers of its hidden units."""

import numpy as np

from ...sweeps import prediction
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    figure, (left, right) = _style.panels(columns=2, height=2.8)
    swept = "alpha" in simulated.dims
    alphas = simulated["alpha"].values if swept else np.array([config.alpha])
    for index, cell in enumerate(_style.cells(result, "num_features")):
        count = cell.get("num_features", config.num_features)
        ranked = sorted(config.variances, reverse=True)
        place = ranked[count - 1] if count <= len(ranked) else 0.0
        place = config.leak**2 * place - 1
        label = f"$k$ = {count}"
        for panel, field in ((left, "task_error"), (right, "loss")):
            if swept:
                # the predicted error is a step: at the weights of the points, and where it jumps
                look = {"linestyle": ""} if field == "task_error" else {}
                _style.compare(panel, alphas, result, field, index, None if panel is left else label, cell, **look)
            else:
                mean = [np.atleast_1d(values.sel(cell)) for values in _style.statistics(result, field)]
                _style.theory(panel, alphas, np.atleast_1d(prediction(result, field).sel(cell)), index, label, marker="_")
                _style.simulation(panel, alphas, mean, index)
        if place > 0 and swept:
            jump = config.coefficient**2 / place
            edges = [alphas.min(), jump, jump, alphas.max()]
            _style.theory(left, edges, [0, 0, 1, 1], index, label)
    left.set(xscale="log", xlabel="weight of distillation $\\alpha$", ylabel="relative task error")
    right.set(xscale="log", yscale="log", xlabel="weight of distillation $\\alpha$", ylabel="loss of the student")
    _style.legend(left, simulated.sizes["seed"], "best student", above=True, point="descent", ncols=6)
    return figure
