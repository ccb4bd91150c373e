"""Neurons of one seed in the plane of the label at a few times: SGD as dots, the mean-field prediction as rings."""

import numpy as np
from matplotlib.lines import Line2D

from .. import _style

SHOWN = 100  # neurons of one seed; more hide one another


def draw(result, config):
    steps = result["simulation"]["step"].values
    shown = np.unique(np.linspace(0, len(steps) - 1, min(4, len(steps))).astype(int))
    columns = min(2, len(shown))
    figure, panels = _style.panels(columns, -(-len(shown) // columns), height=_style.COLUMN, squeeze=False)
    for axes in panels.flat[len(shown) :]:
        axes.remove()
    for axes, place in zip(panels.flat, shown, strict=False):
        reach = 1.1 * max(np.abs(values[place]).max() for values in _neurons(result).values())
        _plane(axes, result, config, place, reach)
    count = min(SHOWN, result["simulation"].sizes["neuron"])
    figure.legend(handles=_handles(), loc="outside upper center", ncols=3, title=f"one seed, {count} neurons")
    return figure


def animate(result, config):
    """The plane at every recorded step, on one scale."""
    figure, axes = _style.panels(height=_style.COLUMN + 0.5)
    figure.legend(handles=_handles(), loc="outside upper center", ncols=3)
    reach = 1.1 * max(np.abs(values).max() for values in _neurons(result).values())

    def show(place):
        axes.clear()
        _plane(axes, result, config, place, reach)

    return figure, range(result["simulation"].sizes["step"]), show


def _neurons(result):
    """{(side, field): (step, neuron)} of the seed that is shown."""
    seed = int(np.flatnonzero(~result["simulation"]["diverged"].values)[0])
    sides = {side: result[side].to_dataset().isel(seed=seed, neuron=slice(SHOWN)) for side in ("simulation", "prediction")}
    return {(side, field): data[field].values for side, data in sides.items() for field in ("alpha", "beta")}


def _plane(axes, result, config, place, reach):
    """Dots and rings at one recorded step."""
    seed = int(np.flatnonzero(~result["simulation"]["diverged"].values)[0])
    readout = result["simulation"]["readout"].values[seed, place, :SHOWN]
    neurons = _neurons(result)
    for colour, sign in ((_style.COLOURS[0], 1), (_style.COLOURS[1], -1)):
        kept = np.sign(readout) == sign
        rings, points = (
            [neurons[side, field][place][kept] for field in ("alpha", "beta")] for side in ("prediction", "simulation")
        )
        axes.scatter(*rings, s=16, facecolors="none", edgecolors=colour, linewidths=0.5)
        axes.scatter(*points, s=3, color=colour, linewidths=0)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="$w\\cdot\\mu_1$", ylabel="$w\\cdot\\mu_2$")
    axes.locator_params(nbins=5)
    axes.set_title(f"time {config.learning_rate * result['simulation']['step'].values[place]:.3g}")
    axes.axhline(0, color="0.8", linewidth=0.5, zorder=0)
    axes.axvline(0, color="0.8", linewidth=0.5, zorder=0)


def _handles():
    return [
        Line2D([], [], linestyle="", marker="o", markersize=2, color=_style.COLOURS[0], label="SGD, $a > 0$"),
        Line2D([], [], linestyle="", marker="o", markersize=2, color=_style.COLOURS[1], label="SGD, $a < 0$"),
        Line2D([], [], linestyle="", marker="o", markersize=4, color="0.35", markerfacecolor="none", label="mean field"),
    ]
