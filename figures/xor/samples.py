"""Samples until the test error is 10 % against the dimension: the noisy mean field over SGD, with slopes 1 and 2 as guides."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    dims = result["simulation"]["model.dim"].values
    mean, error = statistics(result, "samples_per_dim")
    predicted = prediction(result, "samples_per_dim")
    seeds = result["simulation"].sizes["seed"]
    figure, (left, right) = _style.panels(columns=2)
    _style.theory(left, dims, predicted * dims)
    _style.simulation(left, dims, (mean * dims, error * dims))
    slope = np.polyfit(np.log(dims), np.log(mean.values * dims), 1)[0] if len(dims) > 1 else float("nan")
    left.plot([], [], " ", label=f"simulated slope {slope:.2f}")
    start = float(mean.values[0] * dims[0])
    for power, dash in ((1, (0, (1, 1.5))), (2, (0, (4, 2)))):
        left.plot(dims, start * (dims / dims[0]) ** power, color="0.6", linewidth=0.8, linestyle=dash, label=f"$d^{power}$")
    left.set(yscale="log", ylabel=f"fresh samples until error {config.error:.0%}")
    _style.legend(left, seeds, "noisy mean field")
    _style.compare(right, dims, result, "samples_per_dim")
    right.set(ylabel="samples / dimension", title=f"noise κ = {config.batch_noise}, learning rate {config.learning_rate}")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.set(xscale="log", xlabel="input dimension $d$")
        _style.log_ticks(axes.xaxis, dims)
    return figure
