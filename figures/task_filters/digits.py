"""Test accuracy of students on digits against the noise in the teacher's hidden state, and the noise in what they distil."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    swept = "nuisance_std" in simulated.dims
    stds = simulated["nuisance_std"].values if swept else np.array([config.nuisance_std])

    def of(values, **at):
        return np.atleast_1d(values.sel(at).values)

    figure, (left, right) = _style.panels(columns=2, height=2.8)
    for index, target in enumerate(simulated["target"].values.tolist()):
        accuracy, noise, untrained = (
            [of(values, target=target) for values in statistics(result, field)] for field in ("accuracy", "noise", "untrained")
        )
        _style.measured(left, stds, accuracy, index, target, filled=True)
        _style.simulation(left, stds, untrained, index)
        _style.theory(left, stds, np.broadcast_to(of(prediction(result, "untrained"), target=target), stds.shape), index)
        if noise[0].max() > 0:
            _style.measured(right, stds, noise, index, filled=True)
    teacher = [of(values) for values in statistics(result, "teacher_accuracy")]
    _style.measured(left, stds, teacher, 5, "teacher", filled=True)
    left.set(xscale="log", ylim=(0, 1.02), xlabel="standard deviation of the noise", ylabel="test accuracy")
    right.set(xscale="log", yscale="log", xlabel="standard deviation of the noise", ylabel="power of noise in the target")
    for panel in (left, right):
        _style.log_ticks(panel.xaxis, stds)
    _style.legend(left, simulated.sizes["seed"], "before training: chance", above=True, point="networks", ncols=3)
    return figure
