"""What the figures of this paper share."""

import numpy as np

from .. import _style


def marks(axes, x, predicted, index):
    """Predicted numbers that no curve joins."""
    colour = _style.COLOURS[index % len(_style.COLOURS)]
    axes.plot(x, np.asarray(predicted), color=colour, linestyle="", marker="_", markersize=11, zorder=1)
