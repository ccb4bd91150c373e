"""Tables of texts, as wide as there is room: a text wraps at spaces, after / and after _, and no word is cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import plain

if TYPE_CHECKING:
    import rich.console

_GAP = 2  # spaces between two columns


class Styled(NamedTuple):
    """A cell in a style of rich's."""

    text: str
    style: str


class Table:
    """Columns of texts under their headings, printed by rich as narrow as it has to be. A new line in a cell stays one.

    A heading that begins with ">" stands over a column of numbers: aligned to the right, and never wrapped.
    """

    def __init__(self, *headings: str):
        self._right = [heading.startswith(">") for heading in headings]
        self.more = 0  # rows that are not in it
        self._rows = [[Styled(heading.removeprefix(">"), "bold") for heading in headings]]

    def add(self, *cells: str | Styled) -> None:
        """A further row. What looks like markup, or would drive a terminal, is shown as it is."""
        row = [cell if isinstance(cell, Styled) else Styled(cell, "") for cell in cells]
        self._rows.append([Styled("\n".join(map(plain, text.split("\n"))), style) for text, style in row])

    def __len__(self) -> int:
        return len(self._rows) - 1

    @property
    def narrowest(self) -> int:
        """The width that it needs."""
        return sum(self._widths(0)) + _GAP * (len(self._right) - 1)

    def __rich_console__(self, console: rich.console.Console, options: rich.console.ConsoleOptions) -> Iterator[Any]:
        from rich.text import Text

        widths = self._widths(options.max_width)
        for number, row in enumerate(self._rows):
            columns = [wrapped(cell.text, width) for cell, width in zip(row, widths, strict=True)]
            for at in range(max(map(len, columns))):
                line = Text(no_wrap=True, overflow="ignore", end="\n")
                for place, (cell, lines) in enumerate(zip(row, columns, strict=True)):
                    text = lines[at] if at < len(lines) else ""
                    last = place == len(row) - 1 and not self._right[place]
                    text = text.rjust(widths[place]) if self._right[place] else text if last else text.ljust(widths[place])
                    line.append(" " * _GAP if place else "").append(text, style=cell.style)
                line.rstrip()
                yield line
            if not number:
                yield Text("─" * (sum(widths) + _GAP * (len(widths) - 1)), no_wrap=True, overflow="ignore", end="\n")

    def _widths(self, room: int) -> list[int]:
        """Of each column: as wide as its widest text, or where there is no room for that, at least as its longest word."""
        columns = list(zip(*self._rows, strict=True))
        wide = [max(len(line) for cell in column for line in cell.text.split("\n")) for column in columns]
        least = [
            full if right else max(_longest(cell.text) for cell in column)
            for full, right, column in zip(wide, self._right, columns, strict=True)
        ]
        left = max(0, room - _GAP * (len(columns) - 1) - sum(least))
        order = sorted(range(len(columns)), key=lambda place: wide[place] - least[place])
        for count, place in enumerate(order):  # those that need little have it; the others share the rest
            given = min(wide[place] - least[place], left // (len(order) - count))
            least[place] += given
            left -= given
        return least


class First:
    """The first of several tables of the same content that fits, or else the last."""

    def __init__(self, *tables: Table):
        self._tables = tables

    def __rich_console__(self, console: rich.console.Console, options: rich.console.ConsoleOptions) -> Iterator[Any]:
        fitting = (table for table in self._tables if table.narrowest <= options.max_width)
        yield next(fitting, self._tables[-1])


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a text of at most this width, but for longer words; a line that goes on has the indentation of its first.

    >>> wrapped("random_feature_attention/heads", 16), wrapped("  step=3, mode=0", 9)
    (['random_feature_', 'attention/heads'], ['  step=3,', '  mode=0'])
    """
    lines = []
    for paragraph in text.split("\n"):
        body = paragraph.lstrip(" ")
        indent = " " * (len(paragraph) - len(body))
        line = indent
        for piece in _pieces(body):
            if line != indent and len(line) + len(piece.rstrip(" ")) > width:
                lines.append(line.rstrip(" "))
                line = indent
            line += piece
        lines.append(line.rstrip(" "))
    return lines


def _pieces(text: str) -> list[str]:
    """What a line may end after: words with the spaces behind them, and parts of paths and names."""
    return re.findall(r"[^ /_]*[/_]+ *|[^ /_]+ *", text)


def _longest(text: str) -> int:
    return max(
        len(line) - len(line.lstrip(" ")) + max((len(piece.rstrip(" ")) for piece in _pieces(line.lstrip(" "))), default=0)
        for line in text.split("\n")
    )
