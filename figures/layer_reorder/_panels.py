"""What the figures of this paper share."""

import numpy as np

from .. import _style


def cells(result, name):
    """Values of a swept field, or that of the one cell."""
    simulation = result["simulation"]
    return list(simulation[name].values) if name in simulation.dims else [None]


def of(values, name, value):
    """The part of an array that belongs to one value of a swept field."""
    return values if value is None else values.sel({name: value})


def measured(axes, x, statistics, index, label=None, **options):
    """Points that nothing predicts, joined by a thin line."""
    mean = np.asarray(statistics[0])
    axes.plot(x, mean, color=_style.COLOURS[index % len(_style.COLOURS)], linewidth=0.6, label=label, **options)
    _style.simulation(axes, x, statistics, index)


def marks(axes, x, predicted, index):
    """Predicted numbers that no curve joins."""
    colour = _style.COLOURS[index % len(_style.COLOURS)]
    axes.plot(x, np.asarray(predicted), color=colour, linestyle="", marker="_", markersize=11, zorder=1)
