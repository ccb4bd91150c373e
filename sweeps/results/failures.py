"""Cells that raised, and what they raised: one JSON file a part, `failed/<part>.json`, each error once."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from ...console import first_line
from ..contract.config import hashed
from ..contract.request import Plan, Version
from ..errors import UsageError
from . import sealed, store


class Failure(NamedTuple):
    """Why a cell has no result."""

    line: str  # type and message
    text: str  # the traceback
    error: Exception | None = None  # None: read from disk


def failure_of(error: BaseException) -> Failure:
    """What is kept of an error."""
    raised_by_callback = "Traceback (most recent call last)" in str(error)  # that is the message then, and its end the reason
    line = str(error).strip().split("\n")[-1] if raised_by_callback else f"{type(error).__name__}: {first_line(error)}"
    return Failure(line, "".join(traceback.format_exception(error)), error if isinstance(error, Exception) else None)


def read_failures(path: Path, say: Callable[[str], None] | None = None) -> dict[str, tuple[str, Failure]]:
    """The cells that a file says have raised, by name, with the digest of what raised.

    A file that has gone or is damaged names none: then they are tried again. With `say` a damaged one is set aside, and told.
    """
    try:
        said = sealed.read_json(path)
        return {cell: (digest, Failure(*said["errors"][index])) for cell, (index, digest) in said["cells"].items()}
    except sealed.Damaged as error:
        if say is not None:
            say(f"{path} is damaged ({error}); {store.set_aside(path, 'damaged')}, its cells are tried again")
    except (OSError, KeyError, IndexError, TypeError, ValueError):
        pass
    return {}


def all_failures(home: Path, say: Callable[[str], None] | None = None) -> dict[str, tuple[str, Failure]]:
    """All cells of an experiment that have raised, by name; `say` as above."""
    found: dict[str, tuple[str, Failure]] = {}
    for path in sorted((home / "failed").glob("*.json")):
        found |= read_failures(path, say)
    return found


def recorded_failures(plan: Plan, say: Callable[[str], None] | None = None) -> dict[int, Failure]:
    """The cells of a plan that have raised under what they are now; what raised when it was traced is tried each time."""
    known = all_failures(plan.home, say)
    found = {index: failure_of(error) for index, error in plan.broken.items()}
    for index, (cell, version) in enumerate(zip(plan.cells, plan.versions, strict=True)) if known else ():
        digest, failure = known.get(cell.name, ("", None))
        if failure is not None and digest and digest == failed_under(version):
            found[index] = failure
    return found


def failed_under(version: Version) -> str:
    """What a failure of a cell belongs to: its simulation and its prediction as they are now; "" if it cannot be traced."""
    return " ".join(version) if version.simulation else ""


def record(path: Path, plan: Plan, failures: Mapping[int, Failure]) -> None:
    """Keep the failures of some cells in one file, each text once; without any the file goes."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    texts = list(dict.fromkeys(failure[:2] for failure in failures.values()))
    cells = {
        plan.cells[cell].name: [texts.index(failure[:2]), failed_under(plan.versions[cell])]
        for cell, failure in failures.items()
    }
    store.write_bytes(path, sealed.to_json({"errors": texts, "cells": cells}))


def record_broken(plan: Plan) -> None:
    """Keep the failures of the cells whose code raised when it was traced; in a folder that cannot be written nothing is."""
    if plan.broken:
        name = hashed([plan.cells[cell].name for cell in plan.broken])
        with contextlib.suppress(UsageError):
            failures = {cell: failure_of(error) for cell, error in plan.broken.items()}
            record(plan.home / "failed" / f"{name}.json", plan, failures)


def forget_failures(plan: Plan) -> None:
    """Let the cells of a plan be tried again."""
    names = {cell.name for cell in plan.cells}
    for path in (plan.home / "failed").glob("*.json"):
        if not names.isdisjoint(read_failures(path)):
            said = sealed.read_json(path)
            said["cells"] = {cell: why for cell, why in said["cells"].items() if cell not in names}
            with contextlib.suppress(UsageError):  # a folder that cannot be written is not computed in either
                store.write_bytes(path, sealed.to_json(said))
