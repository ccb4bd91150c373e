"""Any result that has no figure of its own: each field against its longest axis, a colour for each cell of the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..sweeps import allowance, prediction, statistics
from ..sweeps.contract.experiment import ENGINE_FIELDS
from ..sweeps.results.agreement import swept_axes, texts
from ..sweeps.results.store import group
from . import _style

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = 6  # a result with more fields shows the first
_CURVES = len(_style.COLOURS)  # of a panel; of more cells some are shown, the first and the last among them


class _Curve(NamedTuple):
    """One curve of a panel: what it is, and its place on the axes other than the one it is drawn against."""

    label: str
    place: tuple[int, ...]


def draw(result: xarray.DataTree) -> Figure | None:
    """A panel for each field that has an axis of numbers; None if no field has."""
    fields = _fields(result)
    if not fields:
        return None
    columns = min(2, len(fields))
    figure, axes = _style.panels(columns, -(-len(fields) // columns), squeeze=False)
    drawn = [_panel(panel, result, field) for field, panel in zip(fields, axes.flat, strict=False)]
    for panel in axes.flat[len(fields) :]:
        panel.set_visible(False)
    handles, common = _explained(result, figure), all(labels == drawn[0] for labels in drawn)
    if common:
        handles = [_handle(result, index, label) for index, label in enumerate(drawn[0]) if label] + handles
    else:  # panels against different axes: each says what its colours are
        for panel, labels in zip(axes.flat, drawn, strict=False):
            if any(labels):
                panel.legend(handles=[_handle(result, index, label) for index, label in enumerate(labels)])
    figure.legend(handles=handles, loc="outside upper center", ncols=min(2, len(handles)))
    return figure


def alternative(result: xarray.DataTree) -> str:
    """What the figure shows, in words."""
    parts = []
    for field in _fields(result):
        shown, curves = len(_curves(result, field)), _number_of_curves(result, field)
        left = f" ({shown} of {curves} curves)" if curves > shown else ""
        parts.append(f"{_words(field)} against {_words(str(_axis(result, field)))}{left}")
    return "; ".join(parts) + "."


def _fields(result: xarray.DataTree) -> list[str]:
    """The fields that are drawn."""
    simulated = group(result, "simulation")
    names = [str(name) for name in simulated.data_vars if name not in ENGINE_FIELDS and simulated[name].size]
    return [name for name in names if _axis(result, name) is not None][:_PANELS]


def _axis(result: xarray.DataTree, field: str) -> str | None:
    """The axis to draw a field against: the longest one of numbers; of equally long ones the steps, or what was swept."""
    values, swept = group(result, "simulation")[field], swept_axes(result)
    numeric = [str(axis) for axis in values.dims if axis != "seed" and values.sizes[axis] > 1 and _numbers(values, str(axis))]
    order = {axis: (values.sizes[axis], axis == "step", axis in swept) for axis in numeric}
    return max(numeric, key=order.__getitem__, default=None)


def _numbers(values: xarray.DataArray, axis: str) -> bool:
    return axis not in values.coords or np.issubdtype(values[axis].dtype, np.number)


def _others(result: xarray.DataTree, field: str) -> dict[str, int]:
    """The axes of a field that tell its curves apart, with their sizes; what was swept first."""
    values, axis, swept = group(result, "simulation")[field], _axis(result, field), swept_axes(result)
    names = [str(name) for name in values.dims if name not in ("seed", axis)]
    return {name: values.sizes[name] for name in sorted(names, key=lambda name: name not in swept)}


def _number_of_curves(result: xarray.DataTree, field: str) -> int:
    return int(np.prod(list(_others(result, field).values()), dtype=int))


def _curves(result: xarray.DataTree, field: str) -> list[_Curve]:
    """The curves of a panel, at most a colour each."""
    values, others = group(result, "simulation")[field], _others(result, field)
    count = _number_of_curves(result, field)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _CURVES)).round().astype(int))
    places = [tuple(map(int, np.unravel_index(index, list(others.values())))) for index in chosen] if others else [()]
    return [_Curve(", ".join(_label(values, *pair) for pair in zip(others, place, strict=True)), place) for place in places]


def _panel(panel: Axes, result: xarray.DataTree, field: str) -> list[str]:
    """Draw a field; returns the labels of its curves."""
    axis, others = str(_axis(result, field)), _others(result, field)
    mean, error = (part.transpose(axis, *others) for part in statistics(result, field))
    predicted = None
    if "prediction" in result.children and field in result["prediction"]:
        predicted = prediction(result, field).broadcast_like(mean).transpose(*mean.dims).values
    x, curves = mean[axis].values if axis in mean.coords else np.arange(len(mean)), _curves(result, field)
    for index, (_, place) in enumerate(curves):
        at = (slice(None), *place)
        if predicted is None:  # a line is theory: without it nothing joins the points
            _style.measured(panel, x, (mean.values[at], error.values[at]), index)
            continue
        _style.theory(panel, x, predicted[at], index)
        _style.band(panel, x, predicted[at], *allowance(result, field), index)
        _style.simulation(panel, x, (mean.values[at], error.values[at]), index)
    panel.set(xlabel=_words(axis), ylabel=_words(field))
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in panel.lines])
    for values, scale in ((x, panel.set_xscale), (drawn[np.isfinite(drawn)], panel.set_yscale)):
        if values.size and values.min() > 0 and values.max() > 30 * values.min():
            scale("log")
    return [curve.label for curve in curves]


def _handle(result: xarray.DataTree, index: int, label: str) -> Line2D:
    """A curve in the legend, with the marker of its points: in grey the markers tell them apart."""
    return _proxy(label, _style.COLOURS[index], _style.MARKERS[index], "-" if "prediction" in result.children else "")


def _explained(result: xarray.DataTree, figure: Figure) -> list[Any]:
    """What a line, a point and a band are."""
    seeds = result["simulation"].sizes["seed"]
    points = [_proxy(f"simulation, {seeds} seed{'s' if seeds > 1 else ''} ± SE", "0.35", "o", "")]
    if "prediction" not in result.children:
        return points
    drawn = {artist.get_gid() for panel in figure.axes for artist in (*panel.lines, *panel.collections)}
    allowed = [Patch(color="0.35", alpha=0.25, linewidth=0, label="allowed")] if _style.BAND in drawn else []
    small = [_proxy("small: no verdict", "0.35", "o", "", 2.2)] if _style.UNJUDGED in drawn else []
    return [Line2D([], [], color="0.35", label="theory"), *points, *allowed, *small]


def _proxy(label: str, colour: str, marker: str, line: Literal["-", ""], size: float = 3.2) -> Line2D:
    look = {"markersize": size, "markeredgewidth": 0.6, "markerfacecolor": "white"}
    return Line2D([], [], color=colour, marker=marker, linestyle=line, label=label, **look)


def _label(values: xarray.DataArray, axis: str, at: int) -> str:
    """rate = 0.1; of fields that were swept side by side all of them"""
    if axis == "point":
        paired = [str(name) for name in values.coords if name != "point" and values[name].dims == ("point",)]
        return ", ".join(f"{_words(name)} = {texts(values[name].values)[at]}" for name in paired)
    return f"{_words(axis)} = {texts(values[axis].values)[at] if axis in values.coords else at}"


def _words(name: str) -> str:
    return name.replace("_", " ").replace(".", ", ")
