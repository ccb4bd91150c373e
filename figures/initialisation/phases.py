"""The edge of chaos in the plane of weight and bias variance, and correlation, gradient and variance on both sides of it."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

BIAS = "bias_variance"


def draw(result, config):
    cells = _style.cells(result, BIAS)
    biases = [cell.get(BIAS, config.bias_variance) for cell in cells]
    x = result["simulation"]["weight_variance"].values
    figure, ((plane, correlation), (chi, moment)) = _style.panels(columns=2, rows=2)
    if cells == [{}]:
        mean, error = (np.atleast_1d(values) for values in statistics(result, "edge"))
        _style.theory(plane, biases, np.atleast_1d(prediction(result, "edge")), 0, marker="_", linestyle="")
        _style.simulation(plane, biases, (mean, error), 0)
    else:
        _style.compare(plane, np.asarray(biases), result, "edge", shade=_style.ALONE)
    low, high = plane.get_ylim()
    plane.set(xlabel="bias variance $\\sigma_b^2$", ylabel="weight variance $\\sigma_w^2$", ylim=(low - 0.35, high + 0.35))
    plane.text(0.5, 0.93, "chaotic", transform=plane.transAxes, ha="center", va="top")
    plane.text(0.97, 0.04, "ordered", transform=plane.transAxes, ha="right", va="bottom")
    for index, (cell, bias) in enumerate(zip(cells, biases, strict=True)):
        for axes, field in ((correlation, "correlation"), (chi, "chi"), (moment, "second_moment")):
            label = f"$\\sigma_b^2 = {bias:g}$" if axes is correlation else None
            _style.compare(axes, x, result, field, index, label, cell)
            fine, limit = _style.along(result, field, x, cell, "prediction_fixed_point")
            _style.rival(axes, fine, limit, index)
    chi.axhline(1, color="0.8", linewidth=0.5, zorder=0)
    for axes, label in (
        (correlation, "correlation of two inputs $c$"),
        (chi, "growth of the gradient per layer $\\chi_1$"),
        (moment, "second moment $q$"),
    ):
        axes.set(xlabel="weight variance $\\sigma_w^2$", ylabel=label)
    _style.rival(correlation, [], [], label="infinite depth", color="0.35")
    _style.legend(correlation, result["simulation"].sizes["seed"], "mean field", above=True, point="networks", ncols=5)
    return figure
