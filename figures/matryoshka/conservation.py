"""Drift of conserved quantities against the step size, of other entries beside them, and what squared gradients leave of it."""

import numpy as np

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    rate = config.time / simulated["run"].values
    figure, (relative, absolute, unexplained) = _style.panels(columns=3, height=2.6)
    _style.compare(relative, rate, result, "relative_drift")
    for index, (field, name) in enumerate(
        {"drift": "conserved by the flow", "other_drift": "entries off the diagonal"}.items()
    ):
        _style.measured(absolute, rate, statistics(result, field), index, name, filled=bool(index))
    _style.compare(unexplained, rate, result, "unexplained")
    relative.set(yscale="log", ylabel="drift, over that of the smallest step")
    _style.log_ticks(relative.yaxis, np.unique(result["prediction"]["relative_drift"].values))
    absolute.set(yscale="log", ylabel="largest change in a given time")
    low, high = absolute.get_ylim()
    absolute.set_ylim(low, high * (high / low) ** 0.3)
    absolute.legend()
    unexplained.set_ylabel("largest change less squared changes")
    for axes in (relative, absolute, unexplained):
        axes.set(xscale="log", xlabel="step size $\\eta$")
        _style.log_ticks(axes.xaxis, np.unique(rate))
    _style.legend(relative, simulated.sizes["seed"], "proportional to $\\eta$", point="networks")
    return figure
