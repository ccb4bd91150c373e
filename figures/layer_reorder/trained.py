"""Changes, accuracies and similarities layer by layer in trained stacks of step 1/L and of step 1."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels

KINDS = {"skip": "skip", "swap": "swap with the next", "parallel": "beside the next"}


def draw(result, config):
    simulation = result["simulation"]
    layers = 1 + np.arange(simulation.sizes["layer"])
    figure, ((change, accuracy, similar), (unit_change, unit_accuracy, effective)) = _style.panels(columns=3, rows=2)
    full = np.asarray(statistics(result, "accuracy")[0])
    for index, (kind, label) in enumerate(KINDS.items()):
        places = layers if kind == "skip" else layers[:-1]
        _style.theory(change, places, prediction(result, kind), index, label)
        _style.simulation(change, places, statistics(result, kind), index)
        if kind == "parallel":
            continue
        aside = places + 0.1 * index  # error bars side by side
        _style.theory(accuracy, aside, prediction(result, f"accuracy_{kind}"), index, label)
        _style.simulation(accuracy, aside, statistics(result, f"accuracy_{kind}"), index)
        for axes, end in ((unit_change, kind), (unit_accuracy, f"accuracy_{kind}")):
            leading = statistics(result, f"leading_{end}")[0]
            _style.theory(axes, places, leading, index, label)
            _style.simulation(axes, places, statistics(result, f"unit_{end}"), index)
    for axes, value in zip((accuracy, unit_accuracy), full, strict=True):
        axes.axhline(value, color="0.6", linewidth=0.7, linestyle=":", zorder=0, label="whole stack")
    _style.theory(similar, layers, prediction(result, "gap"), 0, "1 $-$ cosine")
    _style.simulation(similar, layers, statistics(result, "gap"), 0)
    mean, error = statistics(result, "effective")
    unlike, unlike_error = statistics(result, "unlike")
    for arm, label in enumerate(("step $1/L$", "step 1")):
        at = {"arm": arm}
        _panels.measured(effective, layers, (mean.isel(at), error.isel(at)), arm, f"$|hf|/|x|$, {label}")
        scatter = unlike.isel(at), unlike_error.isel(at)
        _panels.measured(effective, layers[:-1], scatter, arm + 2, f"swap / $\\sqrt{{2}}$ pair, {label}")
    change.set(yscale="log", title="step $1/L$", ylabel="change of the state over its norm")
    accuracy.set(title="step $1/L$", ylabel="test accuracy")
    similar.set(title="step $1/L$", ylabel="1 $-$ cosine of input and output", ylim=(0, None))
    unit_change.set(title="step 1", ylabel="change of the state over its norm", ylim=(0, None))
    unit_accuracy.set(title="step 1", ylabel="test accuracy")
    effective.set(title="both", ylabel="effective step, unlikeness", ylim=(0, 1.9))
    for axes in figure.axes:
        axes.set_xlabel("layer (first of two)")
        axes.set_xticks(layers)
    unit_accuracy.legend()
    effective.legend()
    _style.legend(change, simulation.sizes["seed"], "leading order", point="stacks", loc="upper right", bbox_to_anchor=(1, 0.8))
    return figure
