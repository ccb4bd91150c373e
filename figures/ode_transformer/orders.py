"""Errors of eight schemes against the number of steps, with the leading term as a line; their orders and constants."""

from typing import Any

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

SCHEMES = ("parallel", "sequential", "lie", "strang", "macaron", "midpoint", "heun", "rk4")
TITLES = {"sines": "weights and tokens by a formula", "random": "Gaussian weights and tokens"}


def draw(result, config):
    counts = config.num_steps
    swept = "problem" in result["simulation"].dims
    problems = [str(name) for name in result["simulation"]["problem"].values] if swept else [config.problem]
    figure, axes = _style.panels(columns=max(2, len(problems)), rows=2, height=2.6)
    for left in axes[0, len(problems) :]:
        left.set_axis_off()
    places = np.arange(len(SCHEMES))
    for column, problem in enumerate(problems):

        def of(values, problem=problem):
            return values.sel(problem=problem) if swept else values

        errors, orders, constants = (tuple(map(of, statistics(result, field))) for field in ("error", "order", "constant"))
        panel = axes[0, column]
        for index, name in enumerate(SCHEMES):
            line = "--" if index >= len(_style.COLOURS) else "-"
            predicted = of(prediction(result, "error")).isel(scheme=index)
            _style.theory(panel, counts, predicted, index, name, linestyle=line)
            _style.simulation(panel, counts, tuple(values.isel(scheme=index) for values in errors), index)
        panel.set(
            xscale="log", yscale="log", xlabel="steps N to a fixed time", ylabel="error of the tokens", title=TITLES[problem]
        )
        panel.set_xticks(counts, [str(count) for count in counts])
        panel.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        shift = 0.3 * (column - (len(problems) - 1) / 2)
        for side, field, values in ((axes[1, 0], "order", orders), (axes[1, 1], "constant", constants)):
            dashes = dict[str, Any](linestyle="", marker="_", markersize=9, markeredgewidth=1.2)
            _style.theory(side, places + shift, of(prediction(result, field)), column, **dashes)
            _style.simulation(side, places + shift, values, column)
    for side, label in ((axes[1, 0], "observed order p"), (axes[1, 1], "norm of the coefficient of $h^p$")):
        side.set_xticks(places, SCHEMES, rotation=35, ha="right")
        side.set(ylabel=label)
    axes[1, 1].set(yscale="log")
    title = "circles: by a formula, squares: Gaussian" if len(problems) > 1 else None
    axes[1, 0].set(ylim=(0, 4.6), title=title)
    _style.legend(axes[0, 0], result["simulation"].sizes["seed"], "leading term", True, "simulation", ncols=5)
    return figure
