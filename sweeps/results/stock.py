"""Which runs of a request are on disk, from the headers of its files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..contract.request import Cell, Plan, Version
from . import store

if TYPE_CHECKING:  # as in store
    import numpy as np


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

    def versions(self, plan: Plan, refresh: bool = False) -> Sequence[Version | None]:
        """For each cell whose numbers to show, or None where runs are missing; never two versions in one result.

        That is the current one or, unless `refresh`, an earlier one that has all runs where the current one has not simulated
        them. For a plain function only the current code counts: its name does not identify it.
        """
        import numpy as np

        if not (refresh or self.simulated.all() or plan.experiment.plain):
            for version in sorted({file.version for file in self.files if file.kind == "simulation"}):
                if shown := _of_version(plan, self.files, version):
                    return shown
        whole = np.all(self.have, axis=1).tolist()
        return [version if mine else None for version, mine in zip(plan.versions, whole, strict=True)]


def take_stock(plan: Plan) -> Stock:
    """Which runs of a plan's cells are on disk, from the headers of the files."""
    files, messages = store.headers(plan.home, [cell.name for cell in plan.cells])
    simulated, predicted = there(files, plan.cells, plan.seeds, plan.versions)
    return Stock(files, simulated, predicted, messages)


def there(
    files: Iterable[store.Header], cells: Sequence[Cell], seeds: Sequence[int], versions: Sequence[Version]
) -> np.ndarray:
    """Which runs the files hold of each cell under its version, bool (kind, cell, seed): simulated, and predicted.

    All is predicted of a cell whose version names no prediction.
    """
    import numpy as np

    place = {cell.name: index for index, cell in enumerate(cells)}
    column = {seed: index for index, seed in enumerate(seeds)}
    found = np.zeros((len(Version._fields), len(cells), len(seeds)), bool)
    found[1, [not version.prediction for version in versions]] = True
    for file in files:
        have = found[Version._fields.index(file.kind)]
        pairs = zip(*meeting(file.cells, place), strict=True)
        mine = [(row, at) for row, at in pairs if getattr(versions[at], file.kind) == file.digest]
        rows, at = [row for row, _ in mine], [index for _, index in mine]
        if not file.seeds:  # predictions of cells, whatever the seed
            have[at] = True
            continue
        columns, of = meeting(file.seeds, column)
        have[np.ix_(at, of)] |= file.stored[np.ix_(rows, columns)]
    return found


def versions_in(files: Iterable[store.Header], cells: Sequence[Cell]) -> list[Version]:
    """What the files of one version of the code hold of each cell."""
    digests: dict[str, dict[str, str]] = {kind: {} for kind in Version._fields}
    for file in files:
        digests[file.kind].update(dict.fromkeys(file.cells, file.digest))
    return [Version(*(digests[kind].get(cell.name, "") for kind in Version._fields)) for cell in cells]


def _of_version(plan: Plan, files: Sequence[store.Header], version: str) -> list[Version] | None:
    """What an earlier version named each cell, if it has simulated all runs; with its predictions if it has them all."""
    mine = [file for file in files if file.version == version]
    found = versions_in(mine, plan.cells)
    simulated, predicted = there(mine, plan.cells, plan.seeds, found)
    if not simulated.all():
        return None
    whole = all(one.prediction for one in found) and bool(predicted.all())
    return found if whole else [Version(one.simulation) for one in found]


def meeting(labels: Sequence[Any], place: dict[Any, int]) -> tuple[list[int], list[int]]:
    """Indices of the labels that have a place, and those places."""
    pairs = [(index, place[label]) for index, label in enumerate(labels) if label in place]
    return [index for index, _ in pairs], [at for _, at in pairs]
