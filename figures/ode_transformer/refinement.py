"""Error of trained stacks against steps a layer with the leading term as a line, orders, constants, and the accuracy left."""

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels

SWEPT = "model.stack.scheme"


def draw(result, config):
    counts, schemes = config.refinements, result["simulation"]["scheme"].values.tolist()
    trained = _style.cells(result, SWEPT)
    names = [f"trained {cell.get(SWEPT, config.model.stack.scheme)}" for cell in trained]
    figure, ((left, upper), (lower, right)) = _style.panels(columns=2, rows=2)
    (mean, error), leading = statistics(result, "error"), prediction(result, "error", "prediction_leading")
    for index, scheme in enumerate(schemes):
        at = {**trained[0], "scheme": scheme}
        _style.theory(left, counts, leading.sel(at), index, scheme)
        _style.simulation(left, counts, (mean.sel(at), error.sel(at)), index)
    for index, cell in enumerate(trained):
        shift = 0.25 * (index - (len(trained) - 1) / 2)
        for axes, field in ((upper, "order"), (lower, "constant")):
            _panels.over_schemes(axes, schemes, result, field, index, shift, cell)
        accuracy, error = (values.sel(cell) for values in statistics(result, "accuracy"))
        _style.measured(right, counts, (accuracy, error), index, names[index])
        flow = float(statistics(result, "flow_accuracy")[0].sel(cell))
        right.axhline(flow, color=_style.COLOURS[index], linewidth=0.7, linestyle=":", zorder=0)
    for axes in (left, right):
        axes.set(xscale="log", xlabel="steps in place of one layer")
        _style.log_ticks(axes.xaxis, counts)
    left.set(yscale="log", ylabel="error over tokens", title=names[0])
    for axes in (upper, lower):
        axes.set_xticks(range(len(schemes)), schemes)
    upper.set(ylim=(0, 4.6), ylabel="observed order p (dash: theory)")
    lower.set(yscale="log", ylabel="norm of the coefficient of $h^p$")
    right.set(ylim=(0, 1), ylabel="test accuracy (dotted: the flow)")
    right.axhline(1 / config.model.num_classes, color="0.8", linewidth=0.6, zorder=0)
    _style.legend(left, result["simulation"].sizes["seed"], "leading term", point="refined", fontsize=6)
    right.legend(fontsize=6)
    return figure
