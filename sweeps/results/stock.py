"""Which runs of a request are on disk, from the headers of its files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..contract.request import Plan
from . import store


class Stock(NamedTuple):
    """Which runs of a plan are on disk, by the digest of the sources that computed them."""

    files: list[store.Header]
    have: dict[str, np.ndarray]  # {digest: bool (cell, seed)}, in the order of the plan
    messages: list[str]

    def sources(self, plan: Plan, refresh: bool = False) -> list[str | None]:
        """For each cell the digest whose runs to show, or None where runs are missing; never two digests.

        That is the digest of the current code or, unless `refresh`, of an earlier version that has all runs where the current
        code has not. For a plain function only the current code counts: its name does not identify it.
        """
        table = self.have.get(plan.digest, np.zeros((len(plan.cells), len(plan.seeds)), bool))
        own: np.ndarray = np.asarray(table.all(axis=1))
        others = [] if refresh or hasattr(plan.experiment.module, "FUNCTIONS") else sorted(set(self.have) - {plan.digest})
        for digest in others if not own.all() else ():
            if self.have[digest].all():
                return [digest] * len(plan.cells)
        return [plan.digest if there else None for there in own.tolist()]


def take_stock(plan: Plan) -> Stock:
    """Which runs of a plan's cells are on disk, from the headers of the files."""
    files, messages = store.headers(plan.home, [cell.name for cell in plan.cells])
    return Stock(files, tables(files, [cell.name for cell in plan.cells], plan.seeds), messages)


def tables(files: Sequence[store.Header], cells: Sequence[str], seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Which runs the files hold, {digest: bool (cell, seed)}."""
    place = {cell: index for index, cell in enumerate(cells)}
    column = {seed: index for index, seed in enumerate(seeds)}
    have: dict[str, np.ndarray] = {}
    for file in files:
        table = have.setdefault(file.digest, np.zeros((len(cells), len(seeds)), bool))
        (rows, at), (columns, of) = meeting(file.cells, place), meeting(file.seeds, column)
        table[np.ix_(at, of)] |= file.stored[np.ix_(rows, columns)]
    return have


def meeting(labels: Sequence[Any], place: dict[Any, int]) -> tuple[list[int], list[int]]:
    """Indices of the labels that have a place, and those places."""
    pairs = [(index, place[label]) for index, label in enumerate(labels) if label in place]
    return [index for index, _ in pairs], [at for _, at in pairs]
