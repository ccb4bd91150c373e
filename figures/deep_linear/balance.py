"""The drift of conserved and of other quantities against the step size, and the orders of both."""

import numpy as np

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    figure, (drifts, orders) = _style.panels(columns=2, height=2.6)
    rates = config.largest_rate / 2.0 ** np.arange(config.num_rates)
    labels = ("$W_{l+1}^T W_{l+1} - W_l W_l^T$", "$W_{l+1}^T W_{l+1} + W_l W_l^T$")
    for index, (field, label) in enumerate(zip(("drift", "sum_drift"), labels, strict=True)):
        mean, error = statistics(result, field)
        _style.measured(drifts, rates, (mean, error), index, label)
        slope = float(mean[0]) * (rates / rates[0]) ** (1 - index)
        _style.rival(drifts, rates, slope, index, f"slope {1 - index}")
    for index, field in enumerate(("order", "sum_order")):
        _style.compare(orders, rates[1:], result, field, index, labels[index])
    drifts.set(xscale="log", yscale="log", xlabel="step size", ylabel="largest change until the end")
    orders.set(xscale="log", xlabel="step size, the smaller of two", ylabel="order of the change in the step size")
    for axes, values in ((drifts, rates), (orders, rates[1:])):
        _style.log_ticks(axes.xaxis, values)
        axes.legend()
    _style.legend(orders, result["simulation"].sizes["seed"], "theory", point="gradient descent")
    return figure
