"""What a command prints on a terminal: tables as wide as it is, sentences, paths."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

from ..sweeps.errors import plain
from ..sweeps.results.tables import Table

ROWS_SHOWN = 20  # of any table, unless --all asks for the rest


def width() -> int:
    """Columns of the terminal."""
    return shutil.get_terminal_size((140, 24)).columns


def show(table: Any) -> None:
    """Print a table; what does not fit is not cut off."""
    from rich.console import Console

    Console(width=width()).print(table, crop=False)
    if isinstance(table, Table) and table.more:
        say(f"and {table.more} more; --all shows them")


def say(line: str) -> None:
    """Print a sentence; on a terminal no word of it is cut."""
    if sys.stdout.isatty():
        line = textwrap.fill(line, width(), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    print(line)


def shown(path: Path) -> str:
    """A path as a person in this folder would write it."""
    return plain(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))
