"""`closedform list`."""

from __future__ import annotations

import dataclasses
import json

from .. import arguments
from ..arguments import Positional
from ..sweeps.results.listing import described, experiment_lines, paper_lines
from ._terminal import width


@dataclasses.dataclass
class List:
    """List the papers, a line each; or the experiments of one: claim, source, size, cost."""

    paper: Positional[str | None] = None
    """A paper (xor), or one of its experiments (xor/phases)."""
    json: bool = False
    """All of it as JSON: a list of papers, or of the experiments of one."""


def run(words: list[str]) -> int:
    chosen = arguments.read(List, words, "list")
    if chosen.json:
        print(json.dumps(described(chosen.paper), indent=2, ensure_ascii=False))
    else:
        print("\n".join(paper_lines(width()) if chosen.paper is None else experiment_lines(chosen.paper, width())))
    return 0
