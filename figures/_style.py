"""The one look of all figures: prediction is a line, simulation is points with one standard error, in the same colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.colors
import matplotlib.pyplot as plt
import matplotlib.style
import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatterSciNotation

from ..sweeps import allowance as allowance
from ..sweeps import curve, prediction, statistics
from ..sweeps.results.agreement import texts as texts  # for the labels of values

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLUMN = 3.25  # inches: one column of a two-column paper
# Okabe and Ito's palette, ordered so that neighbours differ in grey too
ALONE = "#595959"  # of a curve that is the only one of its panel, where colours tell curves of other panels apart
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MARKERS = ("o", "s", "^", "D", "v", "P")

BAND, UNJUDGED = "allowance", "no verdict"  # names of what the legend explains
_THIN = {"linewidth": 0.7, "linestyle": (0, (2.5, 1.5))}
_SMALL = {"markersize": 2.2, "markeredgewidth": 0.4}
_POINT = {"markersize": 3.2, "markeredgewidth": 0.6, "markerfacecolor": "white"}
_STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,
}


def panels(columns: int = 1, rows: int = 1, height: float = 2.3, **options: Any) -> tuple[Figure, Any]:
    """A figure of panels, each one column wide; options are those of `plt.subplots`."""
    matplotlib.style.use(["default", _STYLE])
    size = (COLUMN * columns, height * rows)
    return plt.subplots(rows, columns, figsize=size, layout="constrained", **options)


def theory(axes: Axes, x: Any, predicted: Any, index: int = 0, label: str | None = None, **options: Any) -> None:
    """A predicted curve."""
    axes.plot(x, np.asarray(predicted), **{"color": colour(index), "label": label, "zorder": 2, **options})


def rival(axes: Axes, x: Any, predicted: Any, index: int = 0, label: str | None = None, **options: Any) -> None:
    """A curve that is not judged (another theory, a limit, a slope): thin, and no whole line."""
    axes.plot(x, np.asarray(predicted), **{"color": colour(index), "label": label, "zorder": 1.9, **_THIN, **options})


def simulation(axes: Axes, x: Any, mean_and_error: Sequence[Any], index: int = 0, **options: Any) -> None:
    """Simulated points, mean over seeds with one standard error; of many points about sixteen are marked."""
    mean, error = (np.asarray(values) for values in mean_and_error)
    every = max(1, len(mean) // 16)
    look = {"color": colour(index), "elinewidth": 0.7, "capsize": 1.4, "zorder": 3, **_POINT, **options}
    axes.errorbar(
        x,
        mean,
        yerr=np.nan_to_num(error),
        fmt=MARKERS[index % len(MARKERS)],
        markevery=every,
        errorevery=every,
        **look,
    )


def measured(
    axes: Axes, x: Any, mean_and_error: Sequence[Any], index: int = 0, label: str | None = None, filled: bool = False
) -> None:
    """Simulated points that have no verdict: small and thin. No line joins them: a line is theory."""
    look = {**_SMALL, "markerfacecolor": colour(index) if filled else "white", "elinewidth": 0.4, "capsize": 0}
    simulation(axes, x, mean_and_error, index, label=label, gid=UNJUDGED, **look)


def path(axes: Axes, x: Any, values: Any, index: int = 0) -> None:
    """One simulated run on its way: pale, under everything else."""
    axes.plot(x, np.asarray(values), color=colour(index), linewidth=0.4, alpha=0.4, zorder=1)


def compare(
    axes: Axes,
    x: Any,
    result: xarray.DataTree,
    field: str,
    index: int = 0,
    label: str | None = None,
    at: Mapping[str, Any] | None = None,
    shade: str | None = None,
    **options: Any,
) -> None:
    """A field of a result, predicted and simulated; of an array with more axes than x, the curve at these labels.

    `shade` is its colour where that of its number has a meaning in the figure already.

    Theory is drawn at all points at which it is known, and a band of what the simulation may be off by where it can be seen.
    """
    mean, error = (values.sel(at) for values in statistics(result, field))
    fine, predicted = along(result, field, x, at)
    look = {} if shade is None else {"color": shade}
    theory(axes, fine, predicted, index, label, **look, **options)
    if options.get("drawstyle") == "steps-mid":
        borders = np.repeat((fine[1:] + fine[:-1]) / 2, 2)
        fine, predicted = np.concatenate([fine[:1], borders, fine[-1:]]), np.repeat(predicted, 2)
    if options.get("linestyle") != "":  # a curve, and no marks
        band(axes, fine, predicted, *allowance(result, field), index, shade)
    simulation(axes, x, (mean, error), index, **look)


def along(
    result: xarray.DataTree, field: str, x: Any, at: Mapping[str, Any] | None = None, side: str = "prediction"
) -> tuple[np.ndarray, np.ndarray]:
    """A predicted field at these labels, with where it is known: at x, or at more points of the axis whose values x are."""
    x, known = np.asarray(x), prediction(result, field, side).sel(at)
    if known.ndim == 1 and (axis := str(known.dims[0])) in known.coords and np.array_equal(known[axis], x):
        known = curve(result, field, axis, side).sel(at)
        x = known[axis].values
    return x, known.values


def band(
    axes: Axes, x: Any, predicted: Any, relative: Any, absolute: float = 0.0, index: int = 0, shade: str | None = None
) -> None:
    """What a simulated mean may be off by beyond its standard error; not drawn where the line would cover it."""
    x, predicted = np.asarray(x, float), np.asarray(predicted)
    half = relative * np.abs(predicted) + absolute
    there = np.isfinite(half)
    if there.sum() < 2 or half[there].max() < 0.01 * np.abs(predicted[there]).max(initial=0):
        return
    low, high = (np.column_stack([x, predicted + sign * half])[there] for sign in (-1, 1))
    axes.add_collection(_shaded(np.concatenate([low, high[::-1]]), shade or colour(index)), autolim=False)


def zero(axes: Axes, x: Any, allowed: float, index: int | None = None) -> None:
    """Theory where simulation less theory is drawn: a line at zero, with what the difference may be."""
    look = "0.35" if index is None else colour(index)
    low, high = float(np.min(x)), float(np.max(x))
    axes.plot([low, high], [0, 0], color=look, zorder=2)
    if allowed:
        corners = [(low, -allowed), (high, -allowed), (high, allowed), (low, allowed)]
        axes.add_collection(_shaded(corners, look))
        axes.autoscale_view()


def _shaded(corners: Any, look: str) -> PolyCollection:
    band = PolyCollection([corners], facecolor=look, alpha=0.15, linewidth=0, zorder=0.5)
    band.set_gid(BAND)
    return band


def colour(index: int) -> str:
    """The colour of the curve of that number."""
    return COLOURS[index % len(COLOURS)]


def tint(place: int, number: int, base: str = "black") -> str:
    """One of several shades of a colour, the darkest first: for curves beside panels in which colours mean something else."""
    share = 0.8 * (1 - 0.65 * place / max(number - 1, 1))
    red, green, blue = (1 - share * (1 - part) for part in matplotlib.colors.to_rgb(base))
    return matplotlib.colors.to_hex((red, green, blue))


def legend(
    axes: Axes, seeds: int | None, line: str | None = "theory", above: bool = False, point: str = "SGD", **options: Any
) -> None:
    """The labelled curves, and what a line and a point are, with the number of seeds of a mean; inside or above the panels.

    Where they are drawn, also what a band is and what small points are.
    """
    figure = axes.figure
    grey = {"color": "0.35", "marker": "o", "linestyle": "", **_POINT}
    handles = _with_markers(axes)
    if line is not None:
        handles.append(Line2D([], [], color="0.35", label=line))
    handles.append(Line2D([], [], label=point + (f", {seeds} seeds ± SE" if seeds else ""), **grey))
    drawn = {artist.get_gid() for panel in figure.axes for artist in (*panel.lines, *panel.collections)}
    if BAND in drawn:
        handles.append(Patch(color="0.35", alpha=0.25, linewidth=0, label="allowed"))
    if UNJUDGED in drawn:
        handles.append(Line2D([], [], label="small: no verdict", **{**grey, **_SMALL}))
    if above:
        figure.legend(handles=handles, loc="outside upper center", **options)
    else:
        axes.legend(handles=handles, **options)


def _with_markers(axes: Axes) -> list[Any]:
    """The labelled curves of a panel, each with the marker of the points in its colour: in grey the markers tell them apart."""
    markers: dict[Any, Any] = {line.get_color(): line.get_marker() for line in axes.lines if line.get_marker() in MARKERS}
    handles: list[Any] = []
    for handle in axes.get_legend_handles_labels()[0]:
        # a thin rival of the same colour has none, nor a whole one further down
        whole = handle if isinstance(handle, Line2D) and handle.get_linewidth() >= 1 else None
        if whole is not None and (marker := markers.pop(whole.get_color(), None)) is not None:
            look = {"color": whole.get_color(), "linewidth": whole.get_linewidth(), "linestyle": whole.get_linestyle()}
            handles.append(Line2D([], [], marker=marker, label=whole.get_label(), **look, **_POINT))
        else:
            handles.append(handle)
    return handles


def log_ticks(axis: Axis, values: Any) -> None:
    """Ticks of a logarithmic axis at these values alone, which are those of the points."""
    axis.set_ticks(values, texts(values))
    axis.minorticks_off()


def decades(*panels: Axes) -> None:
    """Logarithmic vertical axes of low panels: between decades a label only where less than one is shown."""
    for axes in panels:
        axes.yaxis.set_minor_formatter(LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(0.9, 0.3)))


def signed_image(axes: Axes, values: Any, title: str | None = None, numbers: bool = False) -> None:
    """A matrix of signed values from blue over white to red, on a scale of its own; with its entries as numbers if asked."""
    values = np.asarray(values)
    scale = np.abs(values).max(initial=1e-30)
    axes.imshow(values / scale, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)
    if numbers:
        for (row, column), value in np.ndenumerate(values):
            dark = abs(value) > 0.6 * scale
            text = f"{value:.2g}" if abs(value) > 5e-4 * scale else "0"
            axes.text(column, row, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")


def cells(result: xarray.DataTree, field: str) -> list[dict[str, Any]]:
    """What selects each value of a swept field: `{field: value}`, one after the other; where it was not swept, `{}` alone."""
    simulation = result["simulation"]
    return [{field: value} for value in np.asarray(simulation[field]).tolist()] if field in simulation.dims else [{}]
