"""Reading what is stored as one labelled result, computing nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..contract.request import Plan
from ..errors import on_stderr
from . import store
from .failures import recorded_failures
from .merge import assemble
from .stock import tables, take_stock

if TYPE_CHECKING:
    import xarray

PASSES = 10  # over the files of a request: more than one if another process supersedes or damages them meanwhile


def load_plan(plan: Plan, say: Callable[[str], None] = on_stderr) -> xarray.DataTree | None:
    """`load` of a request that is checked already."""
    for _ in range(PASSES):
        files, messages = store.headers(plan.home, [cell.name for cell in plan.cells])
        failed = recorded_failures(plan.home, plan.digest)
        common = _common_seeds(plan, files, failed)
        for message in messages:
            say(message)
        if not common:
            return None
        plan = plan._replace(seeds=common)
        stock = take_stock(plan)
        sources = stock.sources(plan)
        lost = [index for index, source in enumerate(sources) if source is None]
        tree, damaged = assemble(plan, stock, [source or plan.digest for source in sources], lost)
        for message in damaged:
            say(message)
        if not damaged:
            say_stale(plan, tree, sources, say)
            return tree
    return None


def _common_seeds(plan: Plan, files: Sequence[store.Header], failed: Collection[str]) -> list[int]:
    """Seeds that every cell has, failed cells aside: of the current code if there are any, else of one earlier version."""
    others = [] if hasattr(plan.experiment.module, "FUNCTIONS") else sorted({file.digest for file in files} - {plan.digest})
    seeds = sorted({seed for file in files for seed in file.seeds})
    have = tables(files, [cell.name for cell in plan.cells], seeds)
    for digest in [plan.digest, *others]:
        lost = [digest == plan.digest and cell.name in failed for cell in plan.cells]
        rows = [index for index, gone in enumerate(lost) if not gone or all(lost)]
        if digest in have and (common := np.flatnonzero(have[digest][rows].all(axis=0))).size:
            return [seeds[column] for column in common]
    return []


def say_stale(plan: Plan, tree: xarray.DataTree | None, sources: Sequence[str | None], say: Callable[[str], None]) -> None:
    """Tell that what is shown was computed by an earlier version of the code, and mark it: `provenance(tree)["stale"]`."""
    if tree is not None and any(source not in (None, plan.digest) for source in sources):
        store.mark_stale(tree)
        say(f"{plan.experiment.name}: stale, computed by an earlier version of the code; --refresh computes it again")
