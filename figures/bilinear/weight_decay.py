"""Eigenvalues, squared norm and rank against weight decay: soft thresholds over gradient descent."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    decays = result["simulation"]["weight_decay"].values
    figure, (left, middle, right) = _style.panels(columns=3)
    mean, error = statistics(result, "eigenvalues")
    for index in range(result["simulation"].sizes["mode"]):
        at = {"mode": index}
        _style.theory(left, decays, prediction(result, "eigenvalues").isel(at), index)
        uncoupled = prediction(result, "eigenvalues", "prediction_uncoupled").isel(at)
        _style.theory(left, decays, uncoupled, index, linestyle=":", linewidth=0.7)
        _style.simulation(left, decays, (mean.isel(at), error.isel(at)), index)
    for axes, field, label in ((middle, "norm", "$\\|W\\|^2 + \\|V\\|^2$"), (right, "rank", "rank")):
        curve = np.asarray(prediction(result, field))
        _style.theory(axes, decays, curve, drawstyle="steps-mid" if field == "rank" else "default")
        _style.simulation(axes, decays, statistics(result, field))
        axes.set(ylabel=label)
    left.plot([], [], color="0.35", linestyle=":", linewidth=0.7, label="threshold without the trace")
    left.legend()
    left.set_ylabel("eigenvalues of the form")
    for axes in (left, middle, right):
        axes.set_xlabel("weight decay")
    _style.legend(middle, result["simulation"].sizes["seed"], "nuclear norm", point="gradient descent")
    return figure
