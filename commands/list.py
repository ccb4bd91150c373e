"""`closedform list`."""

from __future__ import annotations

import dataclasses
import json

import tyro

from .. import arguments
from ..sweeps.results.listing import described, experiment_lines, paper_lines
from ._shown import width


@dataclasses.dataclass
class List:
    """List the papers, a line each; or the experiments of one: claim, source, size, cost."""

    paper: tyro.conf.Positional[str | None] = None
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
