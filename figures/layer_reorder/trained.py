"""Changes and accuracies layer by layer in trained stacks: of step 1/L as derivatives predict, of step 1 beside them."""

from ...sweeps import statistics
from .. import _style

KINDS = {"skip": "skip", "swap": "swap with the next", "parallel": "beside the next"}


def draw(result, config):
    simulation = result["simulation"]
    layers, pairs = simulation["layer"].values, simulation["pair"].values
    figure, ((change, accuracy), (similar, unit)) = _style.panels(columns=2, rows=2)
    for index, (kind, label) in enumerate(KINDS.items()):
        places = layers if kind == "skip" else pairs
        _style.compare(change, places, result, kind, index, label)
        if kind != "parallel":
            _style.compare(accuracy, places + 0.1 * index, result, f"accuracy_{kind}", index)  # error bars side by side
            _style.rival(unit, places, statistics(result, f"leading_{kind}")[0], index)
            _style.measured(unit, places, statistics(result, f"unit_{kind}"), index)
    whole = float(statistics(result, "accuracy")[0].sel(arm="1/L"))
    accuracy.axhline(whole, color="0.6", linewidth=0.7, zorder=0)
    _style.compare(similar, layers, result, "gap", 3, "left as it is")
    change.set(yscale="log", title="step $1/L$", ylabel="relative change of the state")
    accuracy.set(title="step $1/L$", ylabel="accuracy (grey: whole stack)")
    similar.set(title="step $1/L$", ylabel="1 $-$ cosine of input and output", ylim=(0, None))
    unit.set(title="step 1, no verdict", ylabel="relative change of the state", ylim=(0, None))
    for axes in figure.axes:
        axes.set(xlabel="layer (first of two)", xticks=layers)
    _style.rival(change, [], [], label="leading order, no verdict", color="0.35")
    _style.legend(change, simulation.sizes["seed"], "leading order", point="stacks", above=True, ncols=4)
    return figure
