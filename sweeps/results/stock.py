"""Which runs of a request are on disk, from the headers of its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..contract.request import Plan
from . import store


class Version(NamedTuple):
    """Whose numbers are shown of a cell: digests of its simulation and of its prediction ("" without any)."""

    simulation: str
    prediction: str


class Stock(NamedTuple):
    """Which runs of a plan are on disk: simulated under its own digest, predicted under its own, and under earlier ones."""

    files: list[store.Header]
    simulated: np.ndarray  # bool (cell, seed)
    predicted: np.ndarray  # bool (cell, seed); True where nothing is predicted
    messages: list[str]

    @property
    def have(self) -> np.ndarray:
        """bool (cell, seed): simulated and predicted by what the plan is now."""
        return self.simulated & self.predicted

    def versions(self, plan: Plan, refresh: bool = False) -> list[Version | None]:
        """For each cell whose numbers to show, or None where runs are missing; never two versions in one result.

        That is the current one or, unless `refresh`, an earlier one that has all runs where the current one has not simulated
        them. For a plain function only the current code counts: its name does not identify it.
        """
        if not (refresh or self.simulated.all() or plan.experiment.plain):
            for version in sorted({file.version for file in self.files if file.kind == "simulation"}):
                if shown := _of_version(plan, self.files, version):
                    return list(shown)
        whole: list[bool] = [bool(row.all()) for row in self.have]
        return [own_version(plan, cell) if whole[cell] else None for cell in range(len(plan.cells))]


def own_version(plan: Plan, cell: int) -> Version:
    """What the results of a cell are named by now; of one whose code raised nothing is."""
    identity = plan.identities[cell]
    return Version("", "") if identity is None else Version(identity.simulation, identity.prediction)


def take_stock(plan: Plan) -> Stock:
    """Which runs of a plan's cells are on disk, from the headers of the files."""
    names = [cell.name for cell in plan.cells]
    files, messages = store.headers(plan.home, names)
    own = [own_version(plan, cell) for cell in range(len(names))]
    simulated = table(files, "simulation", names, plan.seeds, [one.simulation for one in own])
    predicted = table(files, "prediction", names, plan.seeds, [one.prediction for one in own])
    return Stock(files, simulated, predicted, messages)


def table(
    files: Iterable[store.Header], kind: str, cells: Sequence[str], seeds: Sequence[int], digests: Sequence[str]
) -> np.ndarray:
    """Which runs the files hold of each cell under its digest, bool (cell, seed); all of a prediction whose digest is ""."""
    place = {cell: index for index, cell in enumerate(cells)}
    column = {seed: index for index, seed in enumerate(seeds)}
    nothing = [kind == "prediction" and not digest for digest in digests]
    have = np.repeat(np.asarray(nothing, bool)[:, None], len(seeds), axis=1)
    for file in files:
        if file.kind == kind:
            pairs = [(row, at) for row, at in zip(*meeting(file.cells, place), strict=True) if digests[at] == file.digest]
            rows, at = [row for row, _ in pairs], [index for _, index in pairs]
            if not file.seeds:  # predictions of cells, whatever the seed
                have[at] = True
                continue
            columns, of = meeting(file.seeds, column)
            have[np.ix_(at, of)] |= file.stored[np.ix_(rows, columns)]
    return have


def _of_version(plan: Plan, files: Sequence[store.Header], version: str) -> list[Version] | None:
    """The digests of all cells in an earlier version that has simulated all runs; with its predictions if it has them all."""
    names = [cell.name for cell in plan.cells]
    mine = [file for file in files if file.version == version]
    kinds: Mapping[str, dict[str, str]] = {"simulation": {}, "prediction": {}}
    for file in mine:
        kinds[file.kind].update(dict.fromkeys(file.cells, file.digest))
    simulation = [kinds["simulation"].get(name, "") for name in names]
    if not table(mine, "simulation", names, plan.seeds, simulation).all():
        return None
    prediction = [kinds["prediction"].get(name, "") for name in names]
    there = all(prediction) and bool(table(mine, "prediction", names, plan.seeds, prediction).all())
    return [Version(one, other if there else "") for one, other in zip(simulation, prediction, strict=True)]


def meeting(labels: Sequence[Any], place: dict[Any, int]) -> tuple[list[int], list[int]]:
    """Indices of the labels that have a place, and those places."""
    pairs = [(index, place[label]) for index, label in enumerate(labels) if label in place]
    return [index for index, _ in pairs], [at for _, at in pairs]
