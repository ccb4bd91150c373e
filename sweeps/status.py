"""The sweeps of a results folder and how far each is, from its files alone, without importing any experiment."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import claims, store
from .assemble import tables
from .job import Failure, recorded_failures
from .plan import cells_asked


class CellStatus(NamedTuple):
    """One cell of a sweep."""

    at: dict[str, Any]  # values of the swept fields
    state: str  # "done", "running", "failed", "waiting" (or "partly": waiting, with some seeds done)
    seeds: int  # that are done
    where: str  # "host (process 123)" for a running one
    why: str  # the error of a failed one


class SweepStatus(NamedTuple):
    """One sweep: what was asked, and each of its cells."""

    path: Path  # of its manifest
    asked: dict[str, Any]
    cells: list[CellStatus]

    def counts(self) -> dict[str, int]:
        """{state: cells}, every state named."""
        states = [cell.state for cell in self.cells]
        return {state: states.count(state) for state in ("done", "running", "partly", "waiting", "failed")}


def sweeps_of(results: Path, experiment: str | None = None) -> Iterator[SweepStatus]:
    """Every sweep of a results folder, or those of an experiment (or paper), in the order of their names."""
    for path in store.files_below(results, "sweeps/*.json"):
        name = path.parent.parent.relative_to(results).as_posix()
        if experiment is None or name == experiment or name.startswith(f"{experiment}/"):
            # no manifest of ours, a damaged or a removed one
            with contextlib.suppress(ValueError, KeyError, TypeError, FileNotFoundError):
                yield _status(path)


def _status(path: Path) -> SweepStatus:
    asked, home = json.loads(path.read_text()), path.parent.parent
    grid = cells_asked(asked)
    names = [cell.name for cell in grid]
    files, seeds = store.headers(home, names, aside=False)[0], asked["seeds"]
    have = tables(files, names, seeds).get(asked["digest"], np.zeros((len(names), len(seeds)), bool))
    running = _running(home)
    failed = recorded_failures(home, asked["digest"])
    done = have.sum(axis=1)
    cells = [
        _cell(cell.at, int(done[index]), len(seeds), running.get(cell.name), failed.get(cell.name))
        for index, cell in enumerate(grid)
    ]
    return SweepStatus(path, asked, cells)


def _cell(point: dict[str, Any], done: int, seeds: int, where: str | None, failure: Failure | None) -> CellStatus:
    if done == seeds:
        return CellStatus(point, "done", done, "", "")
    if where is not None:
        return CellStatus(point, "running", done, where, "")
    if failure is not None:
        return CellStatus(point, "failed", done, "", failure.line)
    return CellStatus(point, "partly" if done else "waiting", done, "", "")


def _running(home: Path) -> dict[str, str]:
    """The cells that some process holds, and which."""
    held = ((path, claims.holder(path)) for path in sorted((home / "claims").glob("*")))
    named = ((f"{said['host']} (process {said['pid']})", said.get("cells", [])) for _, said in held if said)
    return dict(itertools.chain.from_iterable(((cell, where) for cell in cells) for where, cells in named))
