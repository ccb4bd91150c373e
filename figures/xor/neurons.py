"""Neurons of one seed in the plane of the label at a few times: SGD as dots, the mean-field prediction as rings."""

import numpy as np
from matplotlib.lines import Line2D

from .. import _style

SHOWN = 100  # neurons of one seed; more hide one another


def draw(result, config):
    steps = result["simulation"]["step"].values
    seed = int(np.flatnonzero(~result["simulation"]["diverged"].values)[0])
    columns = min(2, len(steps))
    figure, panels = _style.panels(columns, -(-len(steps) // columns), height=_style.COLUMN, squeeze=False)
    for axes in panels.flat[len(steps) :]:
        axes.remove()
    for index, (axes, step) in enumerate(zip(panels.flat, steps, strict=False)):
        simulated, predicted = (
            result[side].to_dataset().isel(seed=seed, step=index, neuron=slice(SHOWN)) for side in ("simulation", "prediction")
        )
        for colour, sign in ((_style.COLOURS[0], 1), (_style.COLOURS[1], -1)):
            kept = np.sign(simulated["readout"].values) == sign
            points = (simulated["alpha"].values[kept], simulated["beta"].values[kept])
            rings = (predicted["alpha"].values[kept], predicted["beta"].values[kept])
            axes.scatter(*rings, s=16, facecolors="none", edgecolors=colour, linewidths=0.5)
            axes.scatter(*points, s=3, color=colour, linewidths=0)
        reach = 1.1 * max(abs(bound) for bound in (*axes.get_xlim(), *axes.get_ylim()))
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="$w\\cdot\\mu_1$", ylabel="$w\\cdot\\mu_2$")
        axes.set_title(f"time {config.learning_rate * step:.3g}")
        axes.axhline(0, color="0.8", linewidth=0.5, zorder=0)
        axes.axvline(0, color="0.8", linewidth=0.5, zorder=0)
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=2, color=_style.COLOURS[0], label="SGD, $a > 0$"),
        Line2D([], [], linestyle="", marker="o", markersize=2, color=_style.COLOURS[1], label="SGD, $a < 0$"),
        Line2D([], [], linestyle="", marker="o", markersize=4, color="0.35", markerfacecolor="none", label="mean field"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, title=f"one seed, {SHOWN} neurons")
    return figure
