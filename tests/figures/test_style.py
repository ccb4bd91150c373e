"""The one look of all figures."""

import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray

from closedform.figures import _style
from closedform.sweeps.results.agreement import ALLOWANCE


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


def result_of(dense):
    """A result of five simulated values of x, with theory at `dense` of them."""
    x = np.arange(5.0)
    simulated = xarray.Dataset(
        {"y": (("seed", "x"), np.stack([x, x + 0.2])), "diverged": ("seed", [False, False])}, {"x": x, "seed": [0, 1]}
    )
    predicted = xarray.Dataset({"y": ("x", x)}, {"x": x})
    predicted["y"].attrs[ALLOWANCE] = (0.0, 0.5)
    result = xarray.DataTree.from_dict({"simulation": simulated, "prediction": predicted})
    fine = np.linspace(0, 4, dense)
    result["curves/x/prediction"] = xarray.DataTree(xarray.Dataset({"y": ("x", fine)}, {"x": fine}))
    return result


def test_theory_is_drawn_at_all_points_at_which_it_is_known_with_a_band_of_what_is_allowed():
    figure, axes = _style.panels()
    _style.compare(axes, np.arange(5.0), result_of(dense=41), "y")
    line = next(line for line in axes.lines if line.get_linestyle() == "-")
    assert len(line.get_xdata()) == 41
    band = next(part for part in axes.collections if part.get_gid() == _style.BAND)
    corners = band.get_paths()[0].vertices
    assert np.ptp(corners[corners[:, 0] == 2.0][:, 1]) == pytest.approx(1.0)
    _style.legend(axes, 2)
    assert "allowed" in [text.get_text() for text in axes.get_legend().get_texts()]
    plt.close(figure)


def test_theory_on_another_axis_is_left_where_it_was_simulated():
    """x in other units than the axis of the curve."""
    figure, axes = _style.panels()
    _style.compare(axes, 2 * np.arange(5.0), result_of(dense=41), "y")
    assert {len(line.get_xdata()) for line in axes.lines} == {5}
    plt.close(figure)


def test_what_has_no_verdict_is_small_never_joined_and_said_in_words():
    figure, axes = _style.panels()
    _style.measured(axes, np.arange(4.0), (np.arange(4.0), np.ones(4)), 0, "accuracy")
    assert all(line.get_linestyle() == "None" for line in axes.lines)
    _style.legend(axes, 3, line=None)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["accuracy", "SGD, 3 seeds ± SE", "small: no verdict"]
    plt.close(figure)
