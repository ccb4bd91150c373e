"""The one look of all figures."""

import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pytest

from closedform.figures import _style


def test_a_legend_tells_curves_apart_in_grey():
    """Each curve with the marker of its points; a rival of the same colour, and theory without points, with none."""
    figure, axes = _style.panels()
    x = np.arange(4.0)
    for index in range(3):
        _style.theory(axes, x, x + index, index, f"curve {index}")
        if index < 2:
            _style.simulation(axes, x, (x + index, 0 * x), index)
    axes.plot(x, 2 * x, color=_style.COLOURS[0], linestyle="--", label="rival")
    _style.legend(axes, 8)
    handles = axes.get_legend().legend_handles
    markers = {handle.get_label(): handle.get_marker() for handle in handles}
    assert markers == {
        "curve 0": "o",
        "curve 1": "s",
        "curve 2": "None",
        "rival": "None",
        "theory": "None",
        "SGD, 8 seeds ± SE": "o",
    }
    assert handles[3].get_linestyle() == "--"
    plt.close(figure)


@pytest.mark.parametrize("first", range(len(_style.COLOURS) - 1))
def test_neighbouring_colours_differ_in_grey(first):
    grey = [np.dot(matplotlib.colors.to_rgb(colour), [0.2126, 0.7152, 0.0722]) for colour in _style.COLOURS[first : first + 2]]
    assert abs(grey[0] - grey[1]) > 0.03
    assert _style.MARKERS[first] != _style.MARKERS[first + 1]
