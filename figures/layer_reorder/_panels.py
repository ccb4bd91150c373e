"""What the figures of this paper share."""

import numpy as np

from .. import _style


def measured(axes, x, statistics, index, label=None, **options):
    """Points that nothing predicts, joined by a thin line."""
    mean = np.asarray(statistics[0])
    axes.plot(x, mean, color=_style.COLOURS[index % len(_style.COLOURS)], linewidth=0.6, label=label, **options)
    _style.simulation(axes, x, statistics, index)


def marks(axes, x, predicted, index):
    """Predicted numbers that no curve joins."""
    colour = _style.COLOURS[index % len(_style.COLOURS)]
    axes.plot(x, np.asarray(predicted), color=colour, linestyle="", marker="_", markersize=11, zorder=1)
