"""What a person sees of results: the agreement table, what was measured or predicted alone, how far a sweep is, figures."""

from __future__ import annotations

import csv
import io
import itertools
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...contract import Tolerance
from ..contract import config
from ..contract.experiment import Experiment, find, find_figure
from ..errors import UsageError, plain
from .agreement import Row, cell_texts, statistics, swept_axes
from .store import group, provenance
from .tables import First, Styled, Table

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def number(value: float) -> str:
    """Four significant digits.

    >>> number(0.0123456), number(123456.0), number(float("nan"))
    ('0.01235', '1.235e+05', 'nan')
    """
    return f"{value:.4g}"


def numbers(row: Row) -> list[str]:
    """The texts of a row of the agreement table: predicted, simulated ± standard error, deviation, allowance, detects."""
    simulated = f"{number(row.simulated)} ± {row.standard_error:.1g}"
    return [number(row.predicted), simulated, f"{row.deviation:+.1e}", f"{row.allowed:.1e}", detects(row)]


_COARSE = 0.5  # a row that detects only this much says so


def detects(row: Row) -> str:
    """What the row would have called a disagreement, in per cent of the prediction; a dash where that means nothing.

    >>> row = Row("a/b", "", "x", "", 2.0, 2.1, 0.1, 0.4, 1, 1, 8, (), "agrees")
    >>> detects(row), detects(row._replace(allowed=1.2)), detects(row._replace(predicted=0.0))
    ('20 %', 'only 60 %', '-')
    """
    if not math.isfinite(row.detects):
        return "-"
    return f"only {_per_cent(row.detects)}" if row.detects >= _COARSE else _per_cent(row.detects)


def _per_cent(part: float) -> str:
    return f"{100 * part:.2g} %" if part < 1 else f"{100 * part:.0f} %" if part < 10 else "> 1000 %"


def verdict(row: Row) -> str:
    """What the verdict column says."""
    return f"{row.verdict} (earlier version)" if row.stale else row.verdict


def allowance(tolerance: Tolerance) -> str:
    """What is allowed beyond the standard error, in words.

    >>> allowance(Tolerance(0.02)), allowance(Tolerance(absolute=1e-5)), allowance(Tolerance(0.1, 0.5))
    ('2 % of the prediction', '1e-05', '10 % of the prediction + 0.5')
    """
    parts = [f"{100 * tolerance.relative:g} % of the prediction"] if tolerance.relative else []
    return " + ".join([*parts, f"{tolerance.absolute:g}"] if tolerance.absolute else parts)


def agreement_table(rows: Sequence[Row]) -> First:
    """Each row at its worst point: predicted, simulated ± standard error, deviation, allowance, what it detects, verdict.

    Where the terminal is narrow two numbers stand one above the other.
    """
    numeric = (">predicted", ">simulated ± SE", ">deviation", ">allowed", ">detects", ">points", ">seeds")
    wide = Table("experiment", "field", "worst at", *numeric, "verdict")
    stacked = (">predicted\nsimulated ± SE", ">deviation\nallowed", ">detects", ">points\nseeds")
    narrow = Table("experiment\n  field, at", *stacked, "verdict")
    last = ("", "")
    for row in rows:
        style = "yellow" if row.stale else {"agrees": "green", "DISAGREES": "bold red"}.get(row.verdict, "yellow")
        name = [] if (row.experiment, row.cell) == last else [row.experiment, row.cell]
        values, where = numbers(row), "  " + ", ".join(filter(None, (row.field, row.at)))
        seen = Styled(values.pop(), "yellow" if row.detects >= _COARSE else "")
        said, points, seeds = Styled(verdict(row), style), f"{row.agreeing}/{row.points}", str(row.seeds)
        wide.add(" ".join(filter(None, name)), row.field, row.at, *values, seen, points, seeds, said)
        stack = ("\n".join(values[:2]), "\n".join(values[2:]), seen, f"{points}\n{seeds}")
        narrow.add("\n".join(filter(None, [*name, where])), *stack, said)
        last = row.experiment, row.cell
    return First(wide, narrow)


def agreement_line(rows: Sequence[Row]) -> str:
    """How many rows agree, how many of them are of an earlier version, and what the rows would have detected.

    >>> row = Row("a/b", "", "x", "", 2.0, 2.1, 0.1, 0.4, 1, 1, 8, (), "agrees")
    >>> agreement_line([row, row._replace(allowed=1.2, stale=True), row._replace(verdict="no verdict (1 seed)")])
    '2 of 3 rows agree (1 of an earlier version), 1 without a verdict; the median row detects 20 %, 1 only 50 % or more'
    """
    agreeing = [row for row in rows if row.verdict == "agrees"]
    stale = sum(row.stale for row in agreeing)
    without = sum(row.verdict not in ("agrees", "DISAGREES") for row in rows)
    line = f"{len(agreeing)} of {len(rows)} row{'' if len(rows) == 1 else 's'} agree{'s' if len(rows) == 1 else ''}"
    line += f" ({stale} of an earlier version)" if stale else ""
    line += f", {without} without a verdict" if without else ""
    if seen := [row.detects for row in rows if math.isfinite(row.detects)]:
        coarse = sum(part >= _COARSE for part in seen)
        line += f"; the median row detects {_per_cent(float(np.median(seen)))}"
        line += f", {coarse} only {_per_cent(_COARSE)} or more" if coarse else ""
    return line


_MANY = 8  # cells; they share their seeds, so that one sign in all of them is a hint and no proof


def one_sided_lines(rows: Sequence[Row]) -> list[str]:
    """A line for each field that is above its prediction in every one of many cells, or below: perhaps a bias.

    >>> row = Row("a/b", "", "x", "", 2.0, 2.1, 0.1, 0.4, 1, 1, 8, (), "agrees")
    >>> one_sided_lines([row] * 8), one_sided_lines([*[row] * 8, row._replace(simulated=1.9)])
    (['a/b: x is above its prediction in all 8 cells, which share their seeds'], [])
    """
    fields: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.standard_error > 0:
            fields.setdefault((row.experiment, row.field), []).append(row.deviation)
    sides = (("above", lambda deviation: deviation > 0), ("below", lambda deviation: deviation < 0))
    return [
        f"{experiment}: {field} is {side} its prediction in all {len(deviations)} cells, which share their seeds"
        for (experiment, field), deviations in fields.items()
        for side, holds in sides
        if len(deviations) >= _MANY and all(map(holds, deviations))
    ]


def agreement_csv(rows: Sequence[Row]) -> str:
    """The rows with all digits, as comma-separated values under the names of their columns; `detects` is a part of 1."""
    text = io.StringIO()
    names = [name for name in Row._fields if name not in ("tolerance", "diverged", "stale")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, "deviation", "detects", "diverged", "earlier_version", "relative", "absolute", "reason"])
    for row in rows:
        derived = [row.deviation, row.detects, " ".join(map(str, row.diverged)), row.stale]
        writer.writerow([*(getattr(row, name) for name in names), *derived, *row.tolerance])
    return text.getvalue()


LINES_SHOWN = 20  # of any table, if not all are asked for


def prediction_table(result: xarray.DataTree, limit: int | None = None) -> Table:
    """One line a cell and field of what `sweeps.predict` gives: its value, or of an axis its first and last."""
    swept = provenance(result)["swept"]
    first = next(iter(result[next(iter(result.children))].data_vars.values()))
    paired = [str(name) for name in first.coords if name != "point" and first[name].dims == ("point",)]
    shown = paired if swept == ["point"] else swept
    table = Table(*shown, "field", ">predicted")

    def lines() -> Iterator[tuple[str, ...]]:
        for side in result.children:
            rival = side.removeprefix("prediction").lstrip("_")
            for name, array in result[side].data_vars.items():
                for index in np.ndindex(*[array.sizes[axis] for axis in swept]):
                    one = array.isel(dict(zip(swept, index, strict=True)))
                    at = [str(one[name].item()) for name in shown]
                    yield *at, f"{name} ({rival})" if rival else str(name), _ends([*map(number, one.values.ravel().tolist())])

    return _filled(table, lines(), limit)


def measured_table(result: xarray.DataTree, fields: Sequence[str], limit: int | None = None) -> Table:
    """One line a cell and field: mean over seeds ± standard error, or of an axis the first and the last; and how many seeds."""
    simulation, swept, cells = group(result, "simulation"), swept_axes(result), cell_texts(result)
    seeds = _by_cell(~simulation["diverged"], swept).sum(axis=1)
    failed = _by_cell(simulation["failed"], swept)[:, 0] if "failed" in simulation else np.zeros(len(cells), bool)
    found = {field: [_by_cell(part, swept) for part in statistics(result, field)] for field in fields}
    table = Table(*(["cell"] if swept else []), "field", ">mean ± SE", ">seeds")

    def lines() -> Iterator[tuple[str, ...]]:
        for cell, text in enumerate(cells):
            for field, (mean, error) in found.items():
                name = text if field == fields[0] else ""
                points = zip(mean[cell].tolist(), error[cell].tolist(), strict=True)
                said = _ends([f"{number(value)} ± {spread:.1g}" for value, spread in points])
                own = ("-", "failed") if failed[cell] else (said, str(seeds[cell]))
                yield *([name] if swept else []), field, *own

    return _filled(table, lines(), limit)


def _by_cell(values: xarray.DataArray, swept: Sequence[str]) -> np.ndarray:
    """The values as (cell, everything else)."""
    cells = math.prod(values.sizes[axis] for axis in swept)
    return values.transpose(*swept, ...).values.reshape(cells, -1)


def _filled(table: Table, lines: Iterable[tuple[str, ...]], limit: int | None) -> Table:
    """The table with the first lines; it notes how many there are more."""
    rest = iter(lines)
    for line in itertools.islice(rest, limit):
        table.add(*line)
    table.more = sum(1 for _ in rest)
    return table


def _ends(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{texts[0]} ... {texts[-1]} ({len(texts)})" if texts else "no point"


def measured_line(result: xarray.DataTree, fields: Sequence[str]) -> str:
    """What was measured without a prediction, and how many runs diverged or failed."""
    simulation = group(result, "simulation")
    diverged, seeds = simulation["diverged"], simulation.sizes["seed"]
    failed = seeds * int(simulation["failed"].sum()) if "failed" in simulation else 0
    what = f"{len(fields)} field{'' if len(fields) == 1 else 's'} measured, nothing predicted"
    return f"{what}; of {diverged.size} runs {int(diverged.sum())} diverged and {failed} failed"


def worst_first(rows: Sequence[Row]) -> list[Row]:
    """Disagreements, then rows without a verdict, then the others; each by deviation over allowance."""
    order = {"DISAGREES": 0, "agrees": 2}

    def key(row: Row) -> tuple[int, float]:
        ratio = abs(row.deviation) / row.allowed if row.allowed > 0 else math.inf
        return order.get(row.verdict, 1), -ratio if ratio == ratio else -math.inf

    return sorted(rows, key=key)


def diverged_lines(rows: Sequence[Row]) -> list[str]:
    """One sentence for every cell that lost seeds."""
    return _lost({(row.experiment, row.cell): row.diverged for row in rows})


def measured_diverged_lines(name: str, result: xarray.DataTree) -> list[str]:
    """The same of a result without a prediction."""
    simulation = group(result, "simulation")
    lost, seeds = _by_cell(simulation["diverged"].transpose(..., "seed"), swept_axes(result)), simulation["seed"].values
    return _lost({(name, cell): tuple(seeds[mine].tolist()) for cell, mine in zip(cell_texts(result), lost, strict=True)})


def _lost(cells: Mapping[tuple[str, str], tuple[int, ...]]) -> list[str]:
    return [
        plain(" ".join(filter(None, cell)))
        + f": {len(seeds)} diverged seed{'s' if len(seeds) > 1 else ''}, kept apart: "
        + ranges(seeds)
        for cell, seeds in cells.items()
        if seeds
    ]


_RUNS = 12  # of seeds in a text


def ranges(seeds: Sequence[int]) -> str:
    """Rising numbers in few words.

    >>> ranges((0, 1, 2, 5, 7, 8))
    '0 to 2, 5, 7 to 8'
    """
    cuts = [0, *(np.flatnonzero(np.diff(seeds) != 1) + 1).tolist(), len(seeds)]
    runs = [seeds[begin:end] for begin, end in itertools.pairwise(cuts)]
    texts = [f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs[:_RUNS]]
    more = sum(map(len, runs[_RUNS:]))
    return ", ".join([*texts, f"and {more} more"] if more else texts)


def stored_config(experiment: Experiment, result: xarray.DataTree) -> Any:
    """The config that a result was computed at; for a grid the config of its first cell."""
    return config.build(experiment.Config, provenance(result)["config"])


def save_figure(
    name: str, result: xarray.DataTree, stem: Path, otherwise: Callable[[xarray.DataTree], Figure | None] | None = None
) -> list[Path]:
    """Draw a result and write `<stem>.png` and `.pdf`, byte-identical for equal results.

    Where the figure's module has `animate`, and the result frames enough, also `<stem>.gif`. What has no figure of its own is
    drawn by `otherwise`; where that gives none, or is none, there are no files.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    draw, before = find_figure(name), plt.get_fignums()
    try:
        settings = stored_config(find(name), result) if draw is not None else None
        figure = draw(result, settings) if draw is not None else otherwise(result) if otherwise else None
        if figure is None:
            return []
        paths = []
        for kind, told in _UNTIMED.items():
            save = partial(figure.savefig, format=kind, metadata=told)
            paths.append(_written(stem.with_name(f"{stem.name}.{kind}"), save))
        if moving := film(name, result, settings):
            paths.append(_written(stem.with_name(f"{stem.name}.gif"), lambda path: path.write_bytes(moving)))
        return paths
    finally:
        for number in set(plt.get_fignums()).difference(before):
            plt.close(number)


_UNTIMED: dict[str, dict[str, Any]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}


def _written(path: Path, save: Callable[[Path], Any]) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    return path


_FEWEST, _MOST, _PER_SECOND, _PIXELS = 3, 40, 8, 110  # frames that move; frames a second; pixels an inch


def film(name: str, result: xarray.DataTree, settings: Any) -> bytes:
    """What `animate` of the figure's module shows of a result, as a GIF that runs for ever; b"" where nothing moves."""
    animate = find_figure(name, "animate")
    if animate is None:
        return b""
    import matplotlib.pyplot as plt
    from matplotlib.animation import PillowWriter

    figure, frames, show = animate(result, settings)
    try:
        if len(frames) < _FEWEST:
            return b""
        frames = [frames[place] for place in np.unique(np.linspace(0, len(frames) - 1, min(_MOST, len(frames))).astype(int))]
        rate = max(1, min(_PER_SECOND, len(frames) // 4))
        show(frames[-1])
        figure.canvas.draw()
        figure.set_layout_engine("none")  # the place of the axes is found once
        with tempfile.TemporaryDirectory(prefix="closedform-") as folder:
            path = Path(folder) / "film.gif"
            writer = PillowWriter(fps=rate)
            with writer.saving(figure, str(path), _PIXELS):
                for frame in (*frames, *frames[-1:] * rate):  # the end stands for a second
                    show(frame)
                    writer.grab_frame()
            return path.read_bytes()
    finally:
        plt.close(figure)
