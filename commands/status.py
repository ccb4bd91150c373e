"""`closedform status`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from .. import arguments, console
from ..arguments import Positional
from ..sweeps.contract.names import kept_as
from ..sweeps.errors import on_stderr
from ._terminal import say


@dataclasses.dataclass
class Status:
    """Every sweep of the results folder: what is done, running, waiting, failed, and what is left."""

    experiment: Positional[str | None] = None
    """An experiment or a paper; all if not given."""
    results: Path = Path("results")
    """Folder of the results."""


def run(words: list[str]) -> int:
    chosen = arguments.read(Status, words, "status")
    from ..sweeps.results.catalogue import status_lines, sweeps_of

    seen, unread = False, []
    for one in sweeps_of(chosen.results, chosen.experiment and kept_as(chosen.experiment), unread.append):
        seen = True
        for line in status_lines(one):
            say(line)
    for line in unread:
        on_stderr(f"closedform: {line}")
    if unread:
        return console.REFUSED
    if not seen:
        print(f"no sweeps in {chosen.results}" + (f" of {chosen.experiment}" if chosen.experiment else ""))
    return 0
