"""Any result that has no figure of its own: its fields against the steps or the longest axis, theory over simulation."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from ..sweeps import allowance, prediction, statistics
from ..sweeps.contract.experiment import ENGINE_FIELDS
from ..sweeps.results.agreement import swept_axes, texts
from ..sweeps.results.store import group
from . import _style

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS, _CURVES = 6, 4  # a result with more of them shows the first


def draw(result: xarray.DataTree) -> Figure | None:
    """A panel for each field that has an axis; None if no field has."""
    fields = _fields(result)
    if not fields:
        return None
    columns = min(2, len(fields))
    figure, axes = _style.panels(columns, -(-len(fields) // columns), squeeze=False)
    for field, panel in zip(fields, axes.flat, strict=False):
        _panel(panel, result, field)
    for panel in axes.flat[len(fields) :]:
        panel.set_visible(False)
    words = "theory" if "prediction" in result.children else None
    _style.legend(axes.flat[0], result["simulation"].sizes["seed"], words, above=True, point="simulation", ncols=2)
    return figure


def alternative(result: xarray.DataTree) -> str:
    """What the figure shows, in words."""
    parts = []
    for field in _fields(result):
        axis, values = str(_axis(result, field)), group(result, "simulation")[field]
        curves = values.size // (values.sizes["seed"] * values.sizes[axis])
        left = f" ({_CURVES} of {curves} curves)" if curves > _CURVES else ""
        parts.append(f"{_words(field)} against {_words(axis)}{left}")
    return "; ".join(parts) + "."


def _fields(result: xarray.DataTree) -> list[str]:
    """The fields that are drawn."""
    simulated = group(result, "simulation")
    names = [str(name) for name in simulated.data_vars if name not in ENGINE_FIELDS and simulated[name].size]
    return [name for name in names if _axis(result, name) is not None][:_PANELS]


def _axis(result: xarray.DataTree, field: str) -> str | None:
    """The axis to draw a field against: steps, or what was swept, or else its longest; one of numbers."""
    values, swept = group(result, "simulation")[field], swept_axes(result)
    numeric = [str(axis) for axis in values.dims if axis != "seed" and values.sizes[axis] > 1 and _numbers(values, str(axis))]
    order = {axis: (axis == "step", axis in swept, values.sizes[axis]) for axis in numeric}
    return max(numeric, key=order.__getitem__, default=None)


def _numbers(values: xarray.DataArray, axis: str) -> bool:
    return axis not in values.coords or np.issubdtype(values[axis].dtype, np.number)


def _panel(panel: Axes, result: xarray.DataTree, field: str) -> None:
    axis = _axis(result, field)
    mean, error = (part.transpose(axis, ...) for part in statistics(result, field))
    others = [str(other) for other in mean.dims[1:]]
    sides = [mean, error]
    if known := "prediction" in result.children and field in result["prediction"]:
        sides.append(prediction(result, field).broadcast_like(mean).transpose(*mean.dims))
    x = mean[axis].values if axis in mean.coords else np.arange(len(mean))
    for index, place in enumerate(itertools.islice(np.ndindex(*mean.shape[1:]), _CURVES)):
        curve = [side.values[(slice(None), *place)] for side in sides]
        label = ", ".join(_label(mean, other, at) for other, at in zip(others, place, strict=True))
        if known:
            _style.theory(panel, x, curve[-1], index, label or None)
            _style.band(panel, x, curve[-1], *allowance(result, field), index)
            _style.simulation(panel, x, (curve[0], curve[1]), index)
        else:
            _style.measured(panel, x, (curve[0], curve[1]), index, label or None)
    panel.set(xlabel=_words(str(axis)), ylabel=_words(field))
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in panel.lines])
    for values, scale in ((x, panel.set_xscale), (drawn[np.isfinite(drawn)], panel.set_yscale)):
        if values.size and values.min() > 0 and values.max() > 30 * values.min():
            scale("log")


def _label(values: xarray.DataArray, axis: str, at: int) -> str:
    """rate = 0.1"""
    return f"{_words(axis)} = {texts(values[axis].values)[at] if axis in values.coords else at}"


def _words(name: str) -> str:
    return name.replace("_", " ").replace(".", ", ")
