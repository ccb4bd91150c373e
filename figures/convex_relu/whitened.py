"""Whitened data: the closed form of the optimum over the solver and over gradient descent."""

import numpy as np

from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    weight_decays = simulated["weight_decay"].values
    seeds = simulated.sizes["seed"]
    figure, (left, right) = _style.panels(columns=2)
    names = {"relu": "ReLU program", "gated": "gated program", "trained": "ReLU network by Adam"}
    for index, (field, label) in enumerate(names.items()):
        _style.compare(left, weight_decays, result, field, index, label, linestyle="--" if field == "trained" else "-")
    left.set(xscale="log", xlabel="weight decay $\\beta$", ylabel="objective, mean over data sets")
    _style.legend(left, seeds, "closed form", point="solved")
    predicted, solved = result["prediction"]["outputs"].values.ravel(), simulated["outputs"].values.ravel()
    order = np.argsort(predicted)
    right.plot(predicted[order], predicted[order], color="0.35", label="closed form")
    right.plot(predicted, solved, ".", color=_style.COLOURS[0], markersize=2, label="solved, every data set and $\\beta$")
    right.set(xlabel="output by soft threshold", ylabel="output, solved")
    right.legend()
    return figure
