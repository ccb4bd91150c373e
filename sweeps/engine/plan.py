"""From a checked request to work: the parts that share a file.

Cells whose configs differ in traced floats alone form a *group*: one set of compiled programs serves them. A group's runs are
cut into *parts*: the unit that one process locks, that is checkpointed together and that ends as one file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..contract.config import hashed
from ..contract.groups import Group, chunks
from ..contract.request import Plan
from ..results.stock import Stock

FILES = 256  # a larger grid writes several cells a file, so that this many files hold it ...
CELLS_PER_FILE = 1024  # ... or, from a quarter of a million cells on, this many cells fill each
PART_BYTES = 64 << 20  # results of a part: what is held in memory, and written at once


class Part(NamedTuple):
    """The runs that are locked, checkpointed and stored together."""

    group: int
    cells: list[int]  # indices in the plan
    seeds: list[int]
    name: str
    path: Path  # of its file
    predictions: Path  # of the file of its predictions
    runs: int  # that are not on disk


def make_parts(plan: Plan, groups: Sequence[Group], tasks: int, stock: Stock, wanted: np.ndarray) -> list[Part]:
    """All runs of the groups, cut into parts; of these the ones that lack something of the cells that are `wanted`.

    `tasks` is the number of processes that will share them.

    One cell a file up to `FILES` cells, several beyond. The seeds of a cell are cut where the results would be large, or
    where every one of the tasks should find something to do.
    """
    total = len(plan.cells)
    per_file = min(CELLS_PER_FILE, -(-total // FILES))
    runs = total * len(plan.seeds)
    per_task = max(1, runs // (4 * tasks)) if tasks > 1 else runs
    column = {seed: index for index, seed in enumerate(plan.seeds)}
    lacks = ~stock.have & wanted[:, None]
    lacks_runs = lacks if plan.experiment.conditional else ~stock.simulated & wanted[:, None]
    parts = []
    for number, group in enumerate(groups):
        assert group.identity is not None
        seeds_at_once = max(1, min(len(plan.seeds), PART_BYTES // group.result_bytes(), per_task))
        cells_at_once = 1 if seeds_at_once < len(plan.seeds) else max(1, min(per_file, per_task // len(plan.seeds)))
        for cells in chunks(group.cells, cells_at_once):
            names = [plan.cells[cell].name for cell in cells]
            for seeds in chunks(plan.seeds, seeds_at_once):
                name, path = _file(plan, "", names, seeds, group.identity.simulation)
                _, predictions = _file(plan, "predictions", names, seeds, group.identity.prediction)
                mine = np.ix_(cells, [column[seed] for seed in seeds])
                if lacks[mine].any():
                    parts.append(Part(number, cells, seeds, name, path, predictions, int(lacks_runs[mine].sum())))
    return parts


def _file(plan: Plan, kind: str, names: list[str], seeds: list[int], digest: str) -> tuple[str, Path]:
    unique = hashed([names, seeds, digest])
    name = f"{names[0]}-{unique[:8]}" if len(names) == 1 else unique
    return name, plan.home / kind / ("" if len(names) == 1 else "blocks") / name[:2] / f"{name}.nc"
