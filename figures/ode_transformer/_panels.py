"""What the figures of convergence share."""

from .. import _style


def over_schemes(axes, schemes, result, field, index, shift, cell):
    """A number a scheme: what theory says as a dash, measured points beside those of other cells."""
    places = [place + shift for place in range(len(schemes))]
    dashes = {"linestyle": "", "marker": "_", "markersize": 9, "markeredgewidth": 1.2}
    _style.compare(axes, places, result, field, index, at=cell, **dashes)
