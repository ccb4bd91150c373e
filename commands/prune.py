"""`closedform prune`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from .. import arguments, console
from ..arguments import Positional
from ..sweeps import memory
from ..sweeps.contract.names import is_file, kept_as
from ..sweeps.contract.request import resolve
from ..sweeps.errors import UsageError, on_stderr
from ..sweeps.results.tables import Table
from ._terminal import ROWS_SHOWN, say, show, shown

if TYPE_CHECKING:
    from ..sweeps.prune import Prunable


@dataclasses.dataclass
class Prune:
    """List what the results folder holds in vain, stale or superseded, with sizes; with --remove, remove it."""

    experiment: Positional[str | None] = None
    """An experiment, a paper, or code of your own (my_model.py:simulate); all if not given."""
    results: Path = Path("results")
    """Folder of the results."""
    remove: bool = False
    """Remove what is listed. Experiments at which a process is at work are left alone."""
    all: bool = False
    """List every file; else the 20 largest."""


def run(words: list[str]) -> int:
    chosen = arguments.read(Prune, words, "prune")
    from ..sweeps.prune import prunable, remove

    if not chosen.results.is_dir():
        raise UsageError(f"results: no folder {chosen.results}")
    typed, own = chosen.experiment, None
    if typed is not None and is_file(typed):
        own, _ = resolve(typed)
    found = prunable(chosen.results, None if typed is None else kept_as(typed), own)
    largest = sorted(found.items, key=lambda item: (-item.size, item.path))
    table, listed = Table(">size", "why", "file"), largest if chosen.all else largest[:ROWS_SHOWN]
    for item in listed:
        table.add(memory.text(item.size), item.why, shown(item.path))
    table.more = len(largest) - len(listed)
    if largest:
        show(table)
    for line in found.left:
        say(line)
    if not chosen.remove:
        what = f"{_sum(largest)} can be removed: the same with --remove" if largest else "nothing is stale or superseded"
        say(what)
        return console.AGREES
    gone, kept = remove(found)
    for line in kept:
        on_stderr(f"closedform: {line}")
    say(f"removed: {_sum(gone)}")
    return console.REFUSED if kept else console.AGREES


def _sum(items: list[Prunable]) -> str:
    files = f"{len(items)} file{'' if len(items) == 1 else 's'}"
    return f"{files}, {memory.text(sum(item.size for item in items))}"
