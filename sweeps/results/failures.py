"""Cells that raised, and what they raised: one JSON file a part, `failed/<part>.json`, each error once."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..contract.request import Plan
from ..errors import UsageError
from . import sealed, store


class Failure(NamedTuple):
    """Why a cell has no result."""

    line: str  # type and message
    text: str  # the traceback
    error: Exception | None = None  # None: read from disk


def failure_of(error: Exception) -> Failure:
    message = str(error).strip().split("\n")
    raised_by_callback = "Traceback (most recent call last)" in str(error)  # that is the message then, and its end the reason
    line = message[-1] if raised_by_callback else f"{type(error).__name__}: {message[0]}"
    return Failure(line, "".join(traceback.format_exception(error)), error)


def read_failures(path: Path, digest: str | None) -> dict[str, Failure]:
    """The cells that a file says have raised, by name; those of other sources do not count (None: all do).

    A file that has gone or is damaged names none: then they are tried again.
    """
    with contextlib.suppress(OSError, sealed.Damaged):
        said = sealed.read_json(path)
        if digest in (None, said["digest"]):
            return {cell: Failure(*said["errors"][index]) for cell, index in said["cells"].items()}
    return {}


def recorded_failures(home: Path, digest: str | None, say: Callable[[str], None] | None = None) -> dict[str, Failure]:
    """All cells of an experiment that have raised, by name. With `say`, damaged files are set aside and told."""
    found: dict[str, Failure] = {}
    for path in sorted((home / "failed").glob("*.json")):
        found |= read_failures(path, digest)
        if say is not None and (why := damage(path)):
            with contextlib.suppress(UsageError):  # a folder that cannot be written
                say(f"{path} is damaged ({why}); kept as {store.set_aside(path, 'damaged')}, its cells are tried again")
    return found


def damage(path: Path) -> str:
    """Why a file of JSON cannot be trusted; "" if it can, or has gone."""
    try:
        sealed.read_json(path)
    except OSError:
        return ""
    except sealed.Damaged as error:
        return str(error)
    return ""


def record(path: Path, digest: str, failures: dict[str, Failure]) -> None:
    """Keep what cells have raised, by name, each text once; without failures the file is removed."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    texts = list(dict.fromkeys(failure[:2] for failure in failures.values()))
    cells = {cell: texts.index(failure[:2]) for cell, failure in failures.items()}
    store.write_bytes(path, sealed.to_json({"digest": digest, "errors": texts, "cells": cells}))


def forget_failures(plan: Plan) -> None:
    """Let the cells of a plan be tried again."""
    names = {cell.name for cell in plan.cells}
    for path in (plan.home / "failed").glob("*.json"):
        if not names.isdisjoint(read_failures(path, None)):
            said = sealed.read_json(path)
            said["cells"] = {cell: index for cell, index in said["cells"].items() if cell not in names}
            with contextlib.suppress(UsageError):  # a folder that cannot be written is not computed in either
                store.write_bytes(path, sealed.to_json(said))
