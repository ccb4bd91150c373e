"""The agreement table: for every predicted field, is the simulation where theory says, given its error bar?

A point agrees if `|mean over seeds - prediction| <= z * SE + relative * |prediction| + absolute`. The allowance (relative,
absolute) is the experiment's own TOLERANCE, which says its reason; z is 4 for a field of one number and 5 for one of many
points. A prediction conditional on the draw is compared seed by seed: mean and SE are those of the difference. Diverged seeds
are left out and listed. With fewer than two seeds there is no verdict. What a verdict is worth is what the row *detects*: the
smallest deviation that it would have called a disagreement, relative to the prediction.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...contract import Tolerance
from ..contract.experiment import Experiment
from .store import group, provenance

if TYPE_CHECKING:
    import xarray

Z_NUMBER, Z_CURVE = 4.0, 5.0
CURVES, ALLOWANCE = "curves", "allowance"  # that a result gets beside it for its figure (sweeps/curves.py)
FAILED = "no verdict (failed)"
_NOTHING_LEFT = ("no verdict (0 seeds)", FAILED)


class Row(NamedTuple):
    """One line of the table: a field in one cell, at the point that is worst relative to its allowance."""

    experiment: str
    cell: str  # "" without a grid
    field: str
    at: str  # "step=140, cluster=2"; "" for a number
    predicted: float
    simulated: float
    standard_error: float
    allowed: float
    points: int
    agreeing: int
    seeds: int
    diverged: tuple[int, ...]  # seeds with a value that is not finite
    verdict: str  # "agrees", "DISAGREES" or "no verdict (<why>)"
    tolerance: Tolerance = Tolerance()  # what is allowed beyond the standard error, and why
    shared: str = ""  # why the simulated side uses theory, where it does
    stale: bool = False  # computed by an earlier version of the code

    @property
    def deviation(self) -> float:
        return self.simulated - self.predicted

    @property
    def detects(self) -> float:
        """The smallest deviation there that would be a disagreement, relative to the prediction; infinite if that is 0."""
        return self.allowed / abs(self.predicted) if self.predicted else math.inf


def statistics(result: xarray.DataTree, field: str) -> tuple[xarray.DataArray, xarray.DataArray]:
    """Mean and standard error of a simulated field over the seeds that did not diverge."""
    simulation = group(result, "simulation")
    kept = simulation[field].where(~simulation["diverged"]).astype(np.float64).transpose("seed", ...)
    template = kept.isel(seed=0, drop=True)
    mean, error = _mean_and_error(kept.values)
    return template.copy(data=mean), template.copy(data=error)


def prediction(result: xarray.DataTree, field: str, side: str = "prediction") -> xarray.DataArray:
    """A predicted field (of a rival: side "prediction_<name>"); one conditional on the draw is averaged over those seeds."""
    predicted = group(result, side)[field].astype(np.float64)
    if "seed" not in predicted.dims:
        return predicted
    return predicted.where(~group(result, "simulation")["diverged"]).mean("seed")


def curve(result: xarray.DataTree, field: str, axis: str, side: str = "prediction") -> xarray.DataArray:
    """A predicted field along an axis, at as many points of it as theory was asked for (`CURVE`), else at those simulated."""
    known = prediction(result, field, side)
    for node in result[CURVES].children.values() if CURVES in result.children else ():
        if side in node.children and field in node[side]:
            found = group(node, side)[field]
            if axis in found.dims and found.sizes[axis] > known.sizes.get(axis, 0):
                return found
    return known


def allowance(result: xarray.DataTree, field: str) -> tuple[float, float]:
    """What a field may be off by beyond its standard error: of the prediction, and absolute; 0 where it is not told."""
    relative, absolute = group(result, "prediction")[field].attrs.get(ALLOWANCE, (0.0, 0.0))
    return relative, absolute


def compare(experiment: Experiment, result: xarray.DataTree) -> list[Row]:
    """The rows of one result, cell by cell; its swept axes are the cells."""
    if "prediction" not in result.children:
        return []
    simulation, predictions = group(result, "simulation"), group(result, "prediction")
    # a field without points, on an axis that is empty at these sizes, has no row
    fields = [name for name, field in experiment.fields.items() if field.predicted and predictions[name].size]
    if not fields:
        return []
    swept = swept_axes(result)
    diverged = _cells_first(simulation["diverged"], swept, ["seed"])
    failed = _cells_first(simulation["failed"], swept, []) if "failed" in simulation else np.zeros(len(diverged), bool)
    sides = {}
    for name in fields:
        inner = [str(axis) for axis in predictions[name].dims if axis not in (*swept, "seed")]
        lead = ["seed"] if "seed" in predictions[name].dims else []
        sides[name] = (
            _cells_first(simulation[name], swept, ["seed", *inner]),
            _cells_first(predictions[name], swept, [*lead, *inner]),
            bool(lead),
            {axis: texts(predictions[name][axis].values) for axis in inner},
        )
    rows, stale = [], is_stale(result)
    for index, cell in enumerate(cell_texts(result)):
        for name in fields:
            simulated, predicted, paired, axes = sides[name]
            one = _Cell(experiment, cell, name, simulated[index], predicted[index], paired, axes)
            row = _row(one, simulation["seed"].values, diverged[index], bool(failed[index]))
            rows.append(row._replace(stale=stale))
    return rows


def is_stale(result: xarray.DataTree) -> bool:
    """Whether a result was computed by an earlier version of the code."""
    return bool(getattr(result, "attrs", None)) and bool(provenance(result).get("stale"))


def agrees(rows: Iterable[Row]) -> bool:
    """True if no row disagrees and none is without a verdict because every seed diverged or the cell failed."""
    return all(row.verdict != "DISAGREES" and row.verdict not in _NOTHING_LEFT for row in rows)


def swept_axes(result: xarray.DataTree) -> list[str]:
    """Names of the axes that a grid added: they carry the values of the swept fields."""
    return [str(axis) for axis in group(result, "simulation")["diverged"].dims if axis != "seed"]


def _cells_first(values: xarray.DataArray, swept: list[str], inner: list[str]) -> np.ndarray:
    """The values as an array whose first axis runs over the cells."""
    array = values.transpose(*swept, *inner).values
    cells, inner_shape = array.shape[: len(swept)], array.shape[len(swept) :]
    return array.reshape(math.prod(cells), *inner_shape)


def cell_texts(result: xarray.DataTree) -> list[str]:
    """For every cell, in the order of the axes, "dim=3, rate=0.1"; "" without a grid."""
    simulation, swept = group(result, "simulation"), swept_axes(result)
    if swept == ["point"]:
        paired = [str(name) for name in simulation.coords if name != "point" and simulation[name].dims == ("point",)]
        points = zip(*(texts(simulation[name].values) for name in paired), strict=True)
        return [", ".join(map("=".join, zip(paired, point, strict=True))) for point in points]
    points = itertools.product(*(texts(simulation[axis].values) for axis in swept))
    return [", ".join(map("=".join, zip(swept, point, strict=True))) for point in points]


class _Cell(NamedTuple):
    """A field in one cell: simulated (seed, *axes), predicted (*axes), or (seed, *axes) if `paired`."""

    experiment: Experiment
    text: str
    field: str
    simulated: np.ndarray
    predicted: np.ndarray
    paired: bool
    axes: dict[str, list[str]]  # the texts of their labels


def _row(cell: _Cell, seeds: np.ndarray, diverged: np.ndarray, failed: bool) -> Row:
    kept, lost = np.flatnonzero(~diverged), tuple(int(seed) for seed in seeds[diverged])
    simulated, predicted = cell.simulated[kept].astype(np.float64), cell.predicted.astype(np.float64)
    tolerance = cell.experiment.tolerance.get(cell.field, Tolerance())
    if failed:
        nan = math.nan
        return Row(cell.experiment.name, cell.text, cell.field, "", nan, nan, nan, nan, 0, 0, 0, lost, FAILED, tolerance)
    if cell.paired:
        paired = predicted[kept]
        predicted = _mean_and_error(paired)[0]
        difference, error = _mean_and_error(simulated - paired)
    else:
        mean, error = _mean_and_error(simulated)
        difference = mean - predicted
    # a grid over sizes pads short axes with NaN on both sides: no point there
    present = ~np.isnan(simulated).all(axis=0) | ~np.isnan(predicted)
    predictions, differences, errors = (array.ravel() for array in (predicted, difference, error))
    there = present.ravel()
    points = int(there.sum())
    allowed = (Z_NUMBER if points == 1 else Z_CURVE) * errors + tolerance.relative * np.abs(predictions) + tolerance.absolute
    inside = np.abs(differences) <= allowed  # a NaN is not inside
    with np.errstate(divide="ignore", invalid="ignore"):
        badness = np.where(allowed > 0, np.abs(differences) / allowed, np.where(differences == 0, 0.0, np.inf))
    worst = int(np.argmax(np.where(there, np.nan_to_num(badness, nan=np.inf), -1.0)))
    where = zip(cell.axes, np.unravel_index(worst, predicted.shape), strict=True)
    count = len(kept)
    if count < 2:
        verdict = f"no verdict ({count} seed{'' if count == 1 else 's'})"
    elif not points:  # an axis that is empty in this cell, or no number on either side
        verdict = "no verdict (no points)"
    else:
        verdict = "agrees" if inside[there].all() else "DISAGREES"
    return Row(
        experiment=cell.experiment.name,
        cell=cell.text,
        field=cell.field,
        at=", ".join(f"{axis}={cell.axes[axis][index]}" for axis, index in where),
        predicted=float(predictions[worst]),
        simulated=float(predictions[worst] + differences[worst]),
        standard_error=float(errors[worst]),
        allowed=float(allowed[worst]),
        points=points,
        agreeing=int(inside[there].sum()),
        seeds=count,
        diverged=lost,
        verdict=verdict,
        tolerance=tolerance,
        shared=cell.experiment.shared.get(cell.field, ""),
    )


def _mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis and its standard error, NaN left out; NaN where fewer than one (two) are left."""
    there = ~np.isnan(values)
    count = there.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(there, values, 0.0).sum(axis=0) / count
        spread = np.where(there, (values - mean) ** 2, 0.0).sum(axis=0) / (count - 1)
        error = np.sqrt(np.where(count > 1, spread, np.nan) / count)
    return np.where(count > 0, mean, np.nan), error


def texts(values: Iterable[Any]) -> list[str]:
    """The values of an axis in words that tell them apart: six digits, or as many more as it takes; whole numbers are whole.

    >>> texts([0.1, 0.30000000000000004]), texts([1000001.0]), texts([1.0, 1.0000001]), texts(["a", "b"])
    (['0.1', '0.3'], ['1000001'], ['1', '1.0000001'], ['a', 'b'])
    """
    values = np.asarray(values).tolist()
    shown = list(map(str, values))
    for digits in range(6, 18) if any(isinstance(value, float) for value in values) else ():
        shown = [_text(value, digits) for value in values]
        if len(set(shown)) == len(set(values)):
            break
    return shown


def _text(value: Any, digits: int) -> str:
    if not isinstance(value, float):
        return str(value)
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if value.is_integer() and float(text) != value and abs(value) < 1e16 else text
