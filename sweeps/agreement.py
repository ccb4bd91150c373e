"""The agreement table: for every predicted field, is the simulation where theory says, given its error bar?

A point agrees if `|mean over seeds - prediction| <= z * SE + relative * |prediction| + absolute`. The allowance (relative,
absolute) is the experiment's own TOLERANCE, with its reason there; z is 4 for a field of one number and 5 for one of many
points. A prediction conditional on the draw is compared seed by seed: mean and SE are those of the difference. Diverged
seeds stand apart. Under two seeds there is no verdict.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .experiment import Experiment
from .store import group

if TYPE_CHECKING:
    import xarray

Z_NUMBER, Z_CURVE = 4.0, 5.0


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

    @property
    def deviation(self) -> float:
        return self.simulated - self.predicted


def statistics(result: xarray.DataTree, field: str) -> tuple[xarray.DataArray, xarray.DataArray]:
    """Mean and standard error of a simulated field over the seeds that did not diverge."""
    simulation = group(result, "simulation")
    return _mean_and_error(simulation[field].where(~simulation["diverged"]).astype(np.float64))


def prediction(result: xarray.DataTree, field: str, side: str = "prediction") -> xarray.DataArray:
    """A predicted field (of a rival: side "prediction_<name>"); one conditional on the draw is averaged over those seeds."""
    predicted = group(result, side)[field].astype(np.float64)
    if "seed" not in predicted.dims:
        return predicted
    return predicted.where(~group(result, "simulation")["diverged"]).mean("seed")


def compare(experiment: Experiment, result: xarray.DataTree) -> list[Row]:
    """The rows of one result, cell by cell; its swept axes are the cells."""
    rows = []
    swept = swept_axes(result)
    for cell in _cells(result, swept):
        for name, field in experiment.fields.items():
            if field.predicted:
                rows.append(_row(experiment, result, cell, name))
    return rows


def agrees(rows: Iterable[Row]) -> bool:
    """True if no row disagrees and none is without a verdict because every seed diverged."""
    return all(row.verdict != "DISAGREES" for row in rows)


def swept_axes(result: xarray.DataTree) -> list[str]:
    """Names of the axes that a grid added: they carry the values of the swept fields."""
    return [str(axis) for axis in group(result, "simulation")["diverged"].dims if axis != "seed"]


def _cells(result: xarray.DataTree, swept: list[str]) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = [{}]
    for axis in swept:
        cells = [{**cell, axis: value} for cell in cells for value in group(result, "simulation")[axis].values]
    return cells


def _row(experiment: Experiment, result: xarray.DataTree, cell: dict[str, Any], name: str) -> Row:
    simulated = group(result, "simulation")[name].sel(cell)
    predicted = group(result, "prediction")[name].sel(cell).astype(np.float64)
    diverged = group(result, "simulation")["diverged"].sel(cell)
    lost = tuple(int(seed) for seed in simulated["seed"].values[diverged.values])
    kept = simulated.isel(seed=np.flatnonzero(~diverged.values)).astype(np.float64)
    seeds = kept.sizes["seed"]
    relative, absolute = experiment.tolerance[name]

    if "seed" in predicted.dims:
        paired = predicted.sel(seed=kept["seed"])
        predicted = paired.mean("seed")
        difference, error = _mean_and_error(kept - paired)
    else:
        mean, error = _mean_and_error(kept)
        difference = mean - predicted
    # a grid over sizes pads short axes with NaN on both sides: no point there
    present = simulated.notnull().any("seed") | predicted.notnull()
    order = predicted.dims
    arrays = [array.transpose(*order).values.ravel() for array in (predicted, difference, error, present)]
    predictions, differences, errors, there = arrays
    points = int(there.sum())
    allowed = (Z_NUMBER if points == 1 else Z_CURVE) * errors + relative * np.abs(predictions) + absolute
    inside = np.abs(differences) <= allowed  # a NaN is not inside
    with np.errstate(divide="ignore", invalid="ignore"):
        badness = np.where(allowed > 0, np.abs(differences) / allowed, np.where(differences == 0, 0.0, np.inf))
    worst = int(np.argmax(np.where(there, np.nan_to_num(badness, nan=np.inf), -1.0)))
    where = dict(zip(order, np.unravel_index(worst, predicted.shape), strict=True))
    at = ", ".join(f"{axis}={_text(predicted[axis].values[index])}" for axis, index in where.items())
    if seeds < 2:
        verdict = f"no verdict ({seeds} seed{'' if seeds == 1 else 's'})"
    else:
        verdict = "agrees" if inside[there].all() else "DISAGREES"
    return Row(
        experiment=experiment.name,
        cell=", ".join(f"{axis}={_text(value)}" for axis, value in cell.items()),
        field=name,
        at=at,
        predicted=float(predictions[worst]),
        simulated=float(predictions[worst] + differences[worst]),
        standard_error=float(errors[worst]),
        allowed=float(allowed[worst]),
        points=points,
        agreeing=int(inside[there].sum()),
        seeds=seeds,
        diverged=lost,
        verdict=verdict,
    )


def _mean_and_error(values: xarray.DataArray) -> tuple[xarray.DataArray, xarray.DataArray]:
    count = values.notnull().sum("seed")
    mean = values.sum("seed") / count.where(count > 0)
    spread = ((values - mean) ** 2).sum("seed") / (count - 1).where(count > 1)
    return mean, (spread / count.where(count > 0)) ** 0.5


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
