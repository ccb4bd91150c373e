"""Theory alone: predictions of cells that no draw and no training enters, in float64 on the CPU."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ..contract import config as config_
from ..contract.groups import Group
from ..contract.request import Plan
from ..results import store
from ..results.merge import coordinates
from .programs import first_of, padded, programs

_CELLS, _BYTES = 1024, 4 << 20  # at a time: so many, and results of at most so many bytes


def of_cells(group: Group, rows: np.ndarray) -> dict[str, Any]:
    """`{side: result}` of some cells of a group, leaves leading with the cells."""
    sides = [group.shapes[side] for side in group.experiment.predictions]
    capacity = max(1, min(_CELLS, _BYTES // max(1, 8 * sum(leaf.size for leaf in jax.tree.leaves(sides)))))
    with jax.default_device(host()):
        built = programs(group, capacity, "map").unconditional
        values = [config_.traced_values(group.configs[row]) for row in rows.tolist()]
        pieces = []
        for begin in range(0, len(rows), capacity):
            some = values[begin : begin + capacity]
            floats = {path: padded(np.asarray([one[path] for one in some]), capacity) for path in some[0]}
            made = [jax.device_get(one(np.int32(len(some)), floats)) for one in built]
            pieces.append(first_of({side: result for sides in made for side, result in sides.items()}, len(some)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)


def block_of(plan: Plan, group: Group) -> store.Block:
    """The predictions of all cells of a group, as they would go to disk."""
    sides = of_cells(group, np.arange(len(group.cells)))
    named = (one for side, result in sides.items() for one in group.named(side, result, ("cell",)))
    variables = {key: (axes, leaf) for key, axes, leaf in named}
    labels = coordinates(variables, group.labels, group.steps)
    names = [plan.cells[cell].name for cell in group.cells]
    return store.Block("prediction", names, [], np.zeros((len(names), 0), bool), variables, labels, {})


def host() -> Any:
    """A CPU device, where the platforms that the user allows have one; else what there is."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[0]
