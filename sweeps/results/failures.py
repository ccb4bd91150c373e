"""Cells that raised, and what they raised: one JSON file a part, `failed/<part>.json`, each error once."""

from __future__ import annotations

import contextlib
import json
import traceback
from pathlib import Path
from typing import NamedTuple

from ..contract.request import Plan
from ..errors import UsageError
from . import store


class Failure(NamedTuple):
    """Why a cell has no result."""

    line: str  # type and message
    text: str  # the traceback
    error: Exception | None = None  # None: read from disk


def failure_of(error: BaseException) -> Failure:
    message = str(error).strip().split("\n")
    raised_by_callback = "Traceback (most recent call last)" in str(error)  # that is the message then, and its end the reason
    line = message[-1] if raised_by_callback else f"{type(error).__name__}: {message[0]}"
    return Failure(line, "".join(traceback.format_exception(error)), error if isinstance(error, Exception) else None)


def read_failures(path: Path, digest: str | None) -> dict[str, Failure]:
    """The cells that a file says have raised, by name; those of other sources do not count (None: all do)."""
    with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
        said = json.loads(path.read_text())
        if digest in (None, said["digest"]):
            return {cell: Failure(*said["errors"][index]) for cell, index in said["cells"].items()}
    return {}


def recorded_failures(home: Path, digest: str | None) -> dict[str, Failure]:
    """All cells of an experiment that have raised, by name."""
    found: dict[str, Failure] = {}
    for path in sorted((home / "failed").glob("*.json")):
        found |= read_failures(path, digest)
    return found


def forget_failures(plan: Plan) -> None:
    """Let the cells of a plan be tried again."""
    names = {cell.name for cell in plan.cells}
    for path in (plan.home / "failed").glob("*.json"):
        if not names.isdisjoint(read_failures(path, None)):
            said = json.loads(path.read_text())
            said["cells"] = {cell: index for cell, index in said["cells"].items() if cell not in names}
            with contextlib.suppress(UsageError):  # a folder that cannot be written is not computed in either
                store.write_bytes(path, json.dumps(said).encode())
