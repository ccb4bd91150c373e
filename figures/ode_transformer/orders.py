"""Errors of eight schemes against the number of steps, with the leading term as a line; their orders and constants."""

from .. import _style
from . import _panels

TITLES = {"sines": "weights and tokens by a formula", "random": "Gaussian weights and tokens"}


def draw(result, config):
    schemes = result["simulation"]["scheme"].values.tolist()
    problems = _style.cells(result, "problem")
    figure, axes = _style.panels(columns=2, rows=2, height=2.6)
    order, constant = axes[1]
    for empty in axes[0, len(problems) :]:
        empty.set_axis_off()
    for column, cell in enumerate(problems):
        panel = axes[0, column]
        for index, scheme in enumerate(schemes):
            line = "--" if index >= len(_style.COLOURS) else "-"
            at = {**cell, "scheme": scheme}
            _style.compare(panel, config.num_steps, result, "error", index, scheme, at, linestyle=line)
        panel.set(
            xscale="log",
            yscale="log",
            xlabel="steps N to a fixed time",
            ylabel="error of the tokens",
            title=TITLES[cell.get("problem", config.problem)],
        )
        _style.log_ticks(panel.xaxis, config.num_steps)
        shift = 0.3 * (column - (len(problems) - 1) / 2)
        for side, field in ((order, "order"), (constant, "constant")):
            _panels.over_schemes(side, schemes, result, field, column, shift, cell)
    for side in (order, constant):
        side.set_xticks(range(len(schemes)), schemes, rotation=35, ha="right")
    title = "circles: by a formula, squares: Gaussian" if len(problems) > 1 else None
    order.set(ylim=(0, 4.6), ylabel="observed order p", title=title)
    constant.set(yscale="log", ylabel="norm of the coefficient of $h^p$")
    _style.legend(axes[0, 0], result["simulation"].sizes["seed"], "leading term", True, "simulation", ncols=5)
    return figure
