"""Error of trained stacks against steps a layer with the leading term as a line, orders, constants, and the accuracy left."""

from typing import Any

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

SCHEMES = ("parallel", "sequential", "midpoint", "rk4")
SWEPT = "model.stack.scheme"


def draw(result, config):
    counts, simulation = config.refinements, result["simulation"]
    swept = SWEPT in simulation.dims
    trained = [str(name) for name in simulation[SWEPT].values] if swept else [config.model.stack.scheme]
    figure, ((left, upper), (lower, right)) = _style.panels(columns=2, rows=2)
    places = np.arange(len(SCHEMES))
    for index, arm in enumerate(trained):

        def of(values, arm=arm):
            return values.sel({SWEPT: arm}) if swept else values

        if not index:
            (mean, error), leading = statistics(result, "error"), prediction(result, "error", "prediction_leading")
            for place, name in enumerate(SCHEMES):
                _style.theory(left, counts, of(leading).isel(scheme=place), place, name)
                _style.simulation(left, counts, (of(mean).isel(scheme=place), of(error).isel(scheme=place)), place)
        shift = 0.25 * (index - (len(trained) - 1) / 2)
        dashes = dict[str, Any](linestyle="", marker="_", markersize=9, markeredgewidth=1.2)
        for axes, field in ((upper, "order"), (lower, "constant")):
            _style.theory(axes, places + shift, of(prediction(result, field)), index, **dashes)
            _style.simulation(axes, places + shift, tuple(map(of, statistics(result, field))), index)
        accuracy = tuple(map(of, statistics(result, "accuracy")))
        right.plot(counts, accuracy[0], color=_style.COLOURS[index], linewidth=0.6, label=f"trained {arm}")
        _style.simulation(right, counts, accuracy, index)
        flow = float(of(statistics(result, "flow_accuracy")[0]))
        right.axhline(flow, color=_style.COLOURS[index], linewidth=0.7, linestyle=":", zorder=0)
    for axes in (left, right):
        axes.set(xscale="log", xlabel="steps in place of one layer")
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    left.set(yscale="log", ylabel="error over tokens", title=f"trained {trained[0]}")
    for axes, label in ((upper, "observed order p (dash: theory)"), (lower, "norm of the coefficient of $h^p$")):
        axes.set_xticks(places, SCHEMES)
        axes.set(ylabel=label)
    upper.set(ylim=(0, 4.6))
    lower.set(yscale="log")
    right.set(ylim=(0, 1), ylabel="test accuracy (dotted: the flow)")
    right.axhline(0.1, color="0.8", linewidth=0.6, zorder=0)
    seeds = simulation.sizes["seed"]
    _style.legend(left, seeds, "leading term", point="refined", fontsize=6)
    right.legend(fontsize=6)
    return figure
