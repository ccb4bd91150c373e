"""`closedform cite`."""

from __future__ import annotations

import dataclasses
import sys

from .. import arguments
from ..arguments import Positional
from ..sweeps.errors import UsageError


@dataclasses.dataclass
class Cite:
    """Print BibTeX of the papers behind something, ready to append to a .bib file; the last entry is this package."""

    names: Positional[list[str]] = dataclasses.field(default_factory=list)
    """Papers (xor), experiments (xor/phases), modules (theory/feature_learning/xor), result files (*.nc), results folders,
    files of your own (my_model.py)."""
    plain: bool = False
    """One readable line for each: authors, title, where it appeared, year."""


def run(words: list[str]) -> int:
    chosen = arguments.read(Cite, words, "cite")
    from ..gallery import bibliography

    if not chosen.names:
        raise UsageError("cite: got no name; allowed: one or more papers, experiments, modules, result files, results folders")

    def say(message: str) -> None:
        print(f"closedform: {message}", file=sys.stderr)

    keys = [key for name in chosen.names for key in bibliography.behind(name, say)]
    found = [bibliography.entries()[key] for key in dict.fromkeys([*keys, bibliography.OWN])]
    if chosen.plain:
        print("\n".join(map(bibliography.plain, found)))
    else:
        print("\n\n".join(entry.text for entry in found))
    return 0
