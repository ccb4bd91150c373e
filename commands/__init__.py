"""The commands of the command line, a file each: `run(words)` does what its words ask, and gives the exit code.

A file imports what its options need; what the work needs is imported by `run` when the options have been read.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path


def names() -> list[str]:
    """Every command: the files of this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def computes(name: str, words: list[str]) -> bool:
    """Whether a command with these words may trace or run code, so that JAX is needed. Help of an experiment imports it."""
    if name in ("run", "sweep", "predict"):
        return bool(words) and not words[0].startswith("-")
    return name not in ("list", "status", "cite") and not {"-h", "--help"} & set(words)


def find(name: str) -> Callable[[list[str]], int]:
    """The command of that name. Raises `UsageError` with the nearest ones."""
    if name not in names():
        from ..sweeps.errors import unknown

        raise unknown("command", name, names())
    return importlib.import_module(f".{name}", __package__).run
