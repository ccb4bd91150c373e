"""What a command says of results: tables, files, figures, and the verdict."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import console, sweeps
from ..sweeps.contract.experiment import Experiment, names
from ..sweeps.errors import UsageError, on_stderr
from ..sweeps.results import report
from ..sweeps.results.agreement import FAILED, Row, agrees, is_stale
from ..sweeps.results.store import group
from ._terminal import ROWS_SHOWN, say, show, shown

if TYPE_CHECKING:
    from ._options import Stored


@dataclasses.dataclass(frozen=True)
class Computed:
    """A result to judge and to show."""

    experiment: Experiment
    result: Any
    files: Sequence[Path] = ()  # in which it is kept
    figure: Path | None = None  # draw it, as files of this name
    failed: int = 0  # cells

    @functools.cached_property
    def rows(self) -> list[Row]:
        """Of the agreement table."""
        return sweeps.compare(self.experiment, self.result)


def verdict(results: Sequence[Computed], chosen: Stored) -> int:
    """Print what was found: tables, files, figures, and in the last line how much agrees; the exit code that it comes to.

    Everything is printed before a figure is drawn, and one that cannot be drawn is told in a line.
    """
    rows, last = [], ""
    for one in results:
        mine = one.rows
        rows += mine
        if measured := _measured(one, mine):
            last = report.measured_line(one.result, measured)
            if not chosen.quiet:
                show(report.measured_table(one.result, measured, None if chosen.all else ROWS_SHOWN))
                if not mine:
                    _print(report.measured_diverged_lines(one.experiment.name, one.result))
    if not chosen.quiet:
        if rows:
            _agreement(rows, chosen.all)
        _print([shown(path) for one in results for path in one.files])
        sys.stdout.flush()
    for one in results:
        if one.figure is not None:  # drawn in silence too: an earlier figure would be that of other numbers
            drawn = _drawn(one, one.figure)
            _print([] if chosen.quiet else [shown(path) for path in drawn])
    say(report.agreement_line(rows) if rows or not last else last)
    return code_of(results, rows)


def code_of(results: Sequence[Computed], rows: Sequence[Row]) -> int:
    """The exit code that results and the rows of their table come to."""
    codes = {
        console.FAILED: any(one.failed for one in results) or any(row.verdict == FAILED for row in rows),
        console.DISAGREES: not agrees(rows),
        console.STALE: any(is_stale(one.result) for one in results),
    }
    return console.gravest(code for code, holds in codes.items() if holds)


def _measured(one: Computed, rows: Sequence[Row]) -> list[str]:
    """The fields to show as they were measured: of one's own code those without a prediction; of ours, if none has one."""
    if rows and one.experiment.name in names():
        return []
    judged, simulation = {row.field for row in rows}, group(one.result, "simulation")
    fields = {**one.experiment.fields, **one.experiment.curves}
    return [name for name in fields if name not in judged and name in simulation and simulation[name].size]


def _agreement(rows: list[Row], every: bool) -> None:
    worst = report.worst_first(rows)
    listed = worst if every else worst[:ROWS_SHOWN]
    show(report.agreement_table(listed))
    if len(listed) < len(rows):
        say(f"{len(listed)} rows, the worst relative to their allowance; --all shows the other {len(rows) - len(listed)}")
    _print([*report.diverged_lines(rows), *report.one_sided_lines(rows)])


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        print(line)


def _drawn(one: Computed, stem: Path) -> list[Path]:
    from ..figures import _generic

    try:
        result = sweeps.with_theory(one.experiment, one.result, on_stderr)
        return report.save_figure(one.experiment.name, result, stem, _generic.draw)
    except UsageError:
        raise
    except Exception as error:  # a figure is made for the experiment's own sizes, and may fail at those of a user
        why = f"{type(error).__name__}: {console.first_line(error)}; {console.kept(error)}"
        on_stderr(f"closedform: {one.experiment.name} cannot be drawn: {why}")
        return []
