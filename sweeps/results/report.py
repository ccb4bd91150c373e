"""What a person sees: the agreement table, the list of experiments, figures as files."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...contract import Tolerance
from ..contract import config
from ..contract.experiment import Experiment, constant, docstring, find, find_figure, names, read_about
from ..errors import UsageError, plain
from .agreement import Row
from .catalogue import SweepStatus
from .store import provenance

if TYPE_CHECKING:
    import rich.table
    import rich.text
    import xarray


def number(value: float) -> str:
    """Four significant digits.

    >>> number(0.0123456), number(123456.0), number(float("nan"))
    ('0.01235', '1.235e+05', 'nan')
    """
    return f"{value:.4g}"


def numbers(row: Row) -> list[str]:
    """The texts of a row of the agreement table: predicted, simulated ± standard error, deviation and allowance."""
    simulated = f"{number(row.simulated)} ± {row.standard_error:.1g}"
    return [number(row.predicted), simulated, f"{row.deviation:+.1e}", f"{row.allowed:.1e}"]


def allowance(tolerance: Tolerance) -> str:
    """What is allowed beyond the standard error, in words.

    >>> allowance(Tolerance(0.02)), allowance(Tolerance(absolute=1e-5)), allowance(Tolerance(0.1, 0.5))
    ('2 % of the prediction', '1e-05', '10 % of the prediction + 0.5')
    """
    parts = [f"{100 * tolerance.relative:g} % of the prediction"] if tolerance.relative else []
    return " + ".join([*parts, f"{tolerance.absolute:g}"] if tolerance.absolute else parts)


def agreement_table(rows: Sequence[Row]) -> rich.table.Table:
    """One line a row: predicted, simulated +- standard error, deviation, allowance, verdict, at the worst point."""
    import rich.box
    import rich.table
    import rich.text

    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for heading in ("experiment", "field", "worst at"):
        table.add_column(heading, overflow="fold")
    for heading in ("predicted", "simulated ± SE", "deviation", "allowed", "points", "seeds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    last = ""
    for row in rows:
        style = {"agrees": "green", "DISAGREES": "bold red"}.get(row.verdict, "yellow")
        name = " ".join(filter(None, (row.experiment, row.cell)))
        cells = ["" if name == last else name, row.field, row.at, *numbers(row), f"{row.agreeing}/{row.points}", str(row.seeds)]
        table.add_row(*_texts(*cells), rich.text.Text(row.verdict, style=style))
        last = name
    return table


def _texts(*words: str) -> list[rich.text.Text]:
    """Cells of a table that show the words as they are: what looks like markup is none."""
    import rich.text

    return [rich.text.Text(plain(word)) for word in words]


_LINES_SHOWN = 40  # of a table of predictions


def prediction_table(result: xarray.DataTree) -> rich.table.Table:
    """One line a cell and field of what `sweeps.predict` gives: its value, or of an axis its first and last."""
    import rich.box
    import rich.table

    swept = provenance(result)["swept"]
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    first = next(iter(result[next(iter(result.children))].data_vars.values()))
    paired = [str(name) for name in first.coords if name != "point" and first[name].dims == ("point",)]
    shown = paired if swept == ["point"] else swept
    for heading in (*shown, "field"):
        table.add_column(heading, overflow="fold")
    table.add_column("predicted", justify="right")
    for side in result.children:
        rival = side.removeprefix("prediction").lstrip("_")
        for name, array in result[side].data_vars.items():
            shape = [array.sizes[axis] for axis in swept]
            for index in list(np.ndindex(*shape)):
                if table.row_count == _LINES_SHOWN:
                    table.caption = f"the first {_LINES_SHOWN} lines; --output FILE.nc keeps them all"
                    return table
                one = array.isel(dict(zip(swept, index, strict=True)))
                values = one.values.ravel().tolist()
                text = (
                    number(values[0]) if len(values) == 1 else f"{number(values[0])} ... {number(values[-1])} ({len(values)})"
                )
                at = [str(one[name].item()) for name in shown]
                table.add_row(*_texts(*at, f"{name} ({rival})" if rival else str(name), text))
    return table


def worst_first(rows: Sequence[Row]) -> list[Row]:
    """Disagreements, then rows without a verdict, then the others; each by deviation over allowance."""
    order = {"DISAGREES": 0, "agrees": 2}

    def key(row: Row) -> tuple[int, float]:
        ratio = abs(row.deviation) / row.allowed if row.allowed > 0 else math.inf
        return order.get(row.verdict, 1), -ratio if ratio == ratio else -math.inf

    return sorted(rows, key=key)


def diverged_lines(rows: Sequence[Row]) -> list[str]:
    """One sentence for every cell that lost seeds."""
    lost = {(row.experiment, row.cell): row.diverged for row in rows if row.diverged}
    return [
        plain(" ".join(filter(None, cell)))
        + f": {len(seeds)} diverged seed{'s' if len(seeds) > 1 else ''}, kept apart: "
        + ", ".join(map(str, seeds))
        for cell, seeds in lost.items()
    ]


def paper_table() -> rich.table.Table:
    """Every paper: what it is about, and how many experiments it has. Imports none of them."""
    import rich.box
    import rich.table

    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("paper", no_wrap=True)
    table.add_column("what it is about", overflow="fold")
    table.add_column("experiments", justify="right")
    every = names()
    for paper in sorted({name.partition("/")[0] for name in every}):
        about = docstring(f"{paper}/__init__").partition("\n")[0]
        table.add_row(*_texts(paper, about, str(sum(name.startswith(f"{paper}/") for name in every))))
    return table


def experiment_table(paper: str) -> rich.table.Table:
    """The experiments of a paper, or one: claim, source, size and cost, as the modules state them. Imports none of them."""
    import rich.box
    import rich.table

    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("experiment", "claim", "source", "size", "cost on 2 CPU cores"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "experiment")
    for name in names(paper):
        about, seeds, cells = read_about(docstring(name)), constant(name, "SEEDS", 8), 1
        for values in constant(name, "GRID", {}).values():
            cells *= len(values)
        size = f"{seeds} seeds" + (f" x {cells} cells" if cells > 1 else "")
        table.add_row(*_texts(name, about.claim, about.source, size, about.cost))
    return table


_CELLS_SHOWN = 40  # of a sweep; a larger one is summed up


def status_lines(sweep: SweepStatus) -> list[str]:
    """What was asked, how far it is, and each cell of a small sweep; of a large one those that run or have failed."""
    asked, counts = sweep.asked, sweep.counts()
    swept = ", ".join(f"{path} ({len(values)})" for path, values in asked["over"].items()) or "one cell"
    seeds = len(asked["seeds"])
    said = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    left = sum(seeds - cell.seeds for cell in sweep.cells if cell.state != "failed")
    lines = [f"{asked['experiment']} over {swept}, {seeds} seeds: {said}; {left} of {seeds * len(sweep.cells)} runs left"]
    shown = sweep.cells if len(sweep.cells) <= _CELLS_SHOWN else [c for c in sweep.cells if c.state in ("running", "failed")]
    for cell in shown[:_CELLS_SHOWN]:
        at = ", ".join(f"{path}={value}" for path, value in cell.at.items()) or "the cell"
        detail = cell.where or cell.why or (f"{cell.seeds} of {seeds} seeds" if cell.state == "partly" else "")
        lines.append(f"  {at}: {cell.state}{', ' if detail else ''}{detail}")
    if len(shown) > _CELLS_SHOWN:
        lines.append(f"  and {len(shown) - _CELLS_SHOWN} more")
    if (whole := sweep.path.with_suffix(".nc")).exists():
        lines.append(f"  whole: {whole}")
    return [plain(line) for line in lines]


def stored_config(experiment: Experiment, result: xarray.DataTree) -> Any:
    """The config that a result was computed at; for a grid the config of its first cell."""
    return config.build(experiment.Config, provenance(result)["config"])


def save_figure(name: str, result: xarray.DataTree, stem: Path) -> list[Path]:
    """Draw the experiment's figure from a result and write `<stem>.png` and `.pdf`, byte-identical for equal results.

    Where the figure's module has `animate`, and the result frames enough, also `<stem>.gif`.
    """
    draw = find_figure(name)
    if draw is None:
        return []
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    settings = stored_config(find(name), result)
    figure = draw(result, settings)
    metadata: dict[str, dict[str, Any]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}
    paths = []
    for suffix, entries in metadata.items():
        save = partial(figure.savefig, format=suffix, metadata=entries)
        paths.append(_written(stem.with_name(f"{stem.name}.{suffix}"), save))
    plt.close(figure)
    if moving := film(name, result, settings):
        paths.append(_written(stem.with_name(f"{stem.name}.gif"), lambda path: path.write_bytes(moving)))
    return paths


def _written(path: Path, save: Callable[[Path], Any]) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
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
