"""The commands of the command line, a file each: `run(words)` does what its words ask, and gives the exit code."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path


def names() -> list[str]:
    """Every command: the files of this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def find(name: str) -> Callable[[list[str]], int]:
    """The command of that name. Raises `UsageError` with the nearest ones."""
    if name not in names():
        from ..sweeps.errors import unknown

        raise unknown("command", name, names())
    return importlib.import_module(f".{name}", __package__).run
