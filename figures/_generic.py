"""Any result that has no figure of its own: its fields against the steps or the longest axis, theory over simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweeps import prediction, statistics
from . import _style

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS, _CURVES = 6, 4  # a result with more of them shows the first
_OWN = ("diverged", "failed", "stored")


def draw(result: xarray.DataTree) -> Figure | None:
    """A panel for each field that has an axis; None if no field has."""
    simulated = result["simulation"]
    fields = [str(name) for name in simulated.data_vars if name not in _OWN and _axis(simulated[name]) is not None]
    if not fields:
        return None
    shown = fields[:_PANELS]
    columns = min(2, len(shown))
    figure, axes = _style.panels(columns, -(-len(shown) // columns), squeeze=False)
    for field, panel in zip(shown, axes.flat, strict=False):
        _panel(panel, result, field)
    for panel in axes.flat[len(shown) :]:
        panel.set_visible(False)
    seeds = simulated.sizes["seed"]
    predicted = "prediction" in result.children
    _style.legend(axes.flat[0], seeds, "theory" if predicted else "simulation", point="simulation")
    return figure


def _axis(values: xarray.DataArray) -> str | None:
    """The axis to draw a field against: one of numbers, the step if there is one, else the longest."""
    numeric = [str(axis) for axis in values.dims if axis != "seed" and values.sizes[axis] > 1 and _numbers(values, str(axis))]
    return "step" if "step" in numeric else max(numeric, key=lambda axis: values.sizes[axis], default=None)


def _numbers(values: xarray.DataArray, axis: str) -> bool:
    return axis not in values.coords or np.issubdtype(values[axis].dtype, np.number)


def _panel(panel: Axes, result: xarray.DataTree, field: str) -> None:
    mean, error = statistics(result, field)
    axis = _axis(mean)
    assert axis is not None
    x = mean[axis].values if axis in mean.coords else np.arange(mean.sizes[axis])
    sides = [part.transpose(axis, ...).values.reshape(len(x), -1) for part in (mean, error)]
    known = "prediction" in result.children and field in result["prediction"]
    if known:
        told = prediction(result, field).broadcast_like(mean).transpose(axis, *mean.transpose(axis, ...).dims[1:])
        sides.append(told.values.reshape(len(x), -1))
    for curve in range(min(_CURVES, sides[0].shape[1])):
        _style.theory(panel, x, sides[-1 if known else 0][:, curve], curve)
        _style.simulation(panel, x, (sides[0][:, curve], sides[1][:, curve]), curve)
    panel.set(xlabel=_words(axis), ylabel=_words(field))
    drawn = np.concatenate([line.get_ydata() for line in panel.lines] or [np.ones(1)])
    if np.all(x > 0) and x.max() > 30 * x.min():
        panel.set_xscale("log")
    if np.all(drawn[np.isfinite(drawn)] > 0) and np.nanmax(drawn) > 30 * np.nanmin(drawn):
        panel.set_yscale("log")


def _words(name: str) -> str:
    return name.replace("_", " ").replace(".", ", ")


def alternative(result: Any) -> str:
    """What the figure shows, in words."""
    simulated = result["simulation"]
    fields = [str(name) for name in simulated.data_vars if name not in _OWN and _axis(simulated[name]) is not None]
    parts = [f"{_words(field)} against {_words(str(_axis(simulated[field])))}" for field in fields[:_PANELS]]
    return "; ".join(parts)
