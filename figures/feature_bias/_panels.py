"""What the figures of this paper share: points of a few named things side by side, and their names."""

import numpy as np

from ...sweeps import statistics
from .. import _style

FEATURES = {"x1": "$x_1$", "x2 x3": "$x_2 x_3$", "x2": "$x_2$", "x3": "$x_3$"}
MARK = {"linestyle": "", "marker": "_", "markersize": 13, "markeredgewidth": 1.4}


def judged(axes, x, result, field, index=0, label=None, at=None):
    """Predictions as marks and means over seeds as points, at these places."""
    _style.compare(axes, np.asarray(x, float), result, field, index, label, at, **MARK)


def unjudged(axes, x, result, field, index=0, label=None, at=None):
    """Means over seeds that have no prediction, at these places."""
    mean_and_error = [np.atleast_1d(values.sel(at)) for values in statistics(result, field)]
    _style.measured(axes, np.atleast_1d(np.asarray(x, float)), mean_and_error, index, label, filled=True)


def alone(axes, place, result, field, index=0):
    """A field that is one number: its prediction as a mark and its mean over seeds as a point."""
    _style.theory(axes, [place], np.atleast_1d(_style.prediction(result, field)), index, **MARK)
    _style.simulation(axes, [place], [np.atleast_1d(values) for values in statistics(result, field)], index)


def named(axes, names, **settings):
    """The names of what stands at 0, 1, ..."""
    axes.set_xticks(range(len(names)), names)
    axes.set(xlim=(-0.6, len(names) - 0.4), **settings)
