"""What `closedform list` shows: papers and experiments as their modules state them, importing none of them."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

from ..contract.experiment import constant, docstring, names, read_about
from ..errors import plain
from .tables import wrapped


def paper_lines(width: int) -> list[str]:
    """A line for every paper: its name, how many experiments it has, and what it is about. Imports none of them."""
    papers = {paper: len(list(mine)) for paper, mine in itertools.groupby(names(), lambda name: name.partition("/")[0])}
    longest = max(map(len, papers), default=0)
    lines = [f"{paper:{longest}}  {count:3}  {_about(paper)}" for paper, count in papers.items()]
    return [plain(line if len(line) <= width else f"{wrapped(line, width - 4)[0].rstrip(',:;')} ...") for line in lines]


def _about(paper: str) -> str:
    return docstring(f"{paper}/__init__").partition("\n")[0]


class Listed(NamedTuple):
    """An experiment as its module states it, read without importing it."""

    name: str
    claim: str
    source: str
    seeds: int
    cells: int
    cost: str


def listed(paper: str | None) -> list[Listed]:
    """The experiments of a paper, or one, or all of them."""
    found = []
    for name in names(paper):
        about, cells = read_about(docstring(name)), math.prod(map(len, constant(name, "GRID", {}).values()))
        found.append(Listed(name, about.claim, about.source, constant(name, "SEEDS", 8), cells, about.cost))
    return found


def described(paper: str | None) -> list[dict[str, Any]]:
    """What `closedform list` knows, as plain values: every paper with its experiments, or the experiments of one."""
    experiments = [one._asdict() for one in listed(paper)]
    if paper is not None:
        return experiments
    papers = itertools.groupby(experiments, lambda one: one["name"].partition("/")[0])
    return [{"name": name, "about": _about(name), "experiments": list(mine)} for name, mine in papers]


def experiment_lines(paper: str, width: int) -> list[str]:
    """Each experiment of a paper, or one: size and cost, then claim and source, as the module states them."""
    lines = []
    for one in listed(paper):
        size = f"{one.seeds} seeds" + (f" x {one.cells} cells" if one.cells > 1 else "")
        heading = f"{one.name}: {size}" + (f", {one.cost} on 2 CPU cores" if one.cost else "")
        source = [f"  Source: {one.source}"] if one.source else []
        for text in (heading, f"  {one.claim}", *source):
            lines += wrapped(plain(text), width)
    return lines
