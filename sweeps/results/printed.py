"""The agreement table of a result as a value: printed by Python, shown by a notebook."""

from __future__ import annotations

import html
import io
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...contract import Tolerance
from ..contract.experiment import Experiment, Field, find, names
from ..errors import UsageError
from .agreement import Row, agrees, compare
from .report import LINES_SHOWN, agreement_line, agreement_table, diverged_lines, worst_first
from .store import group, provenance

if TYPE_CHECKING:
    import xarray

_WIDE = 140  # characters of a line in a notebook


@dataclass(frozen=True)
class Agreement:
    """The rows of an agreement table; as text it is the table, the worst rows first, and how many agree."""

    rows: tuple[Row, ...]

    @property
    def agrees(self) -> bool:
        """Whether no row disagrees."""
        return agrees(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return self._text(shutil.get_terminal_size((_WIDE, 24)).columns)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self._text(_WIDE))}</pre>"

    def _text(self, width: int) -> str:
        from rich.console import Console

        listed, text = worst_first(self.rows)[:LINES_SHOWN], io.StringIO()
        if listed:
            Console(file=text, width=width, color_system=None, force_jupyter=False).print(agreement_table(listed), crop=False)
        left = len(self.rows) - len(listed)
        more = [f"and {left} more row{'s' if left > 1 else ''}: .rows has all"] if left else []
        return text.getvalue() + "\n".join([*diverged_lines(self.rows), *more, agreement_line(self.rows)])


def agreement(result: xarray.DataTree, tolerance: Mapping[str, Tolerance] | None = None) -> Agreement:
    """For every predicted field of a result, whether the simulation is where theory says, given its error bar.

    What is allowed beyond the standard error is what the experiment states; for a function of one's own nothing, unless
    `tolerance` has it: `{"loss": Tolerance(relative=0.01, reason="...")}` with `Tolerance` from `closedform.contract`. Raises
    UsageError for a result without a prediction, and for a field that it does not have.
    """
    if "prediction" not in result.children:
        raise UsageError("agreement: the result has no prediction; allowed: one of sweep(..., predict=...)")
    simulation, predicted = group(result, "simulation"), group(result, "prediction")
    fields = [str(name) for name in predicted.data_vars if name in simulation]
    if unknown := sorted(set(tolerance or {}) - set(fields)):
        raise UsageError(f"tolerance: got {', '.join(unknown)}; allowed: {', '.join(fields)}")
    name = str(provenance(result)["experiment"])
    known = find(name) if name in names() else Experiment(name, fields={field: Field((), True) for field in fields})
    return Agreement(tuple(compare(known._replace(tolerance={**known.tolerance, **(tolerance or {})}), result)))
