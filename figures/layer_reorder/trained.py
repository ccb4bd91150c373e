"""Changes, accuracies and similarities layer by layer in trained stacks of step 1/L and of step 1."""

from ...sweeps import statistics
from .. import _style
from . import _panels

KINDS = {"skip": "skip", "swap": "swap with the next", "parallel": "beside the next"}
ARMS = {"1/L": "step $1/L$", "1": "step 1"}


def draw(result, config):
    simulation = result["simulation"]
    layers, pairs = simulation["layer"].values, simulation["pair"].values
    figure, ((change, accuracy, similar), (unit_change, unit_accuracy, effective)) = _style.panels(columns=3, rows=2)
    for index, (kind, label) in enumerate(KINDS.items()):
        places = layers if kind == "skip" else pairs
        _style.compare(change, places, result, kind, index, label)
        if kind == "parallel":
            continue
        _style.compare(accuracy, places + 0.1 * index, result, f"accuracy_{kind}", index, label)  # error bars side by side
        for axes, end in ((unit_change, kind), (unit_accuracy, f"accuracy_{kind}")):
            leading = statistics(result, f"leading_{end}")[0]
            _style.theory(axes, places, leading, index, label)
            _style.simulation(axes, places, statistics(result, f"unit_{end}"), index)
    whole = statistics(result, "accuracy")[0]
    for axes, arm in ((accuracy, "1/L"), (unit_accuracy, "1")):
        axes.axhline(float(whole.sel(arm=arm)), color="0.6", linewidth=0.7, linestyle=":", zorder=0, label="whole stack")
    _style.compare(similar, layers, result, "gap", 0, "1 $-$ cosine")
    for index, (arm, label) in enumerate(ARMS.items()):
        step, unlike = (tuple(part.sel(arm=arm) for part in statistics(result, field)) for field in ("effective", "unlike"))
        _panels.measured(effective, layers, step, index, f"$|hf|/|x|$, {label}")
        _panels.measured(effective, pairs, unlike, index + 2, f"swap / $\\sqrt{{2}}$ pair, {label}")
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
