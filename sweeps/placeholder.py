"""A result before anything is computed: shapes, axes, labels and provenance as they will be, and numbers that mean nothing.

The code of an experiment is traced, never compiled or run. A figure can be drawn from it, and a contract checked, in a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import store
from .assemble import coordinates, merged
from .plan import Group, Plan, make_groups

if TYPE_CHECKING:
    import xarray


def placeholder(plan: Plan) -> xarray.DataTree:
    """The result of a plan with positive numbers of order one that agree with the prediction up to a few per cent of spread.

    Raises what `run` raises before it compiles: `UsageError` for a broken contract, and what the experiment's own code raises.
    """
    groups, failed = make_groups(plan, [True] * len(plan.cells))
    if failed:
        raise failed[min(failed)]
    draw = np.random.default_rng(0)
    pieces = [(_block(plan, group, draw), list(range(len(group.cells))), group.cells) for group in groups]
    return merged(plan, pieces, (), store.new_provenance(plan, plan.cells[0].config, seconds=0.0))


def _block(plan: Plan, group: Group, draw: np.random.Generator) -> store.Block:
    cells, seeds = len(group.cells), len(plan.seeds)
    steps = {} if group.steps is None else {"step": len(group.steps)}
    variables: dict[tuple[str, str], tuple[tuple[str, ...], np.ndarray]] = {}
    for field, declared in group.experiment.fields.items():
        shape = (*steps.values(), *getattr(group.shapes["simulation"], field).shape)
        truth = draw.uniform(0.2, 1.0, (cells, 1, *shape))
        for side, result in group.shapes.items():
            if (leaf := getattr(result, field)) is not None:
                drawn = side == "simulation" or group.experiment.conditional
                lead = {"cell": cells, "seed": seeds if drawn else 1}
                values = (truth * draw.normal(1.0, 0.02, (*lead.values(), *shape))).astype(leaf.dtype)
                axes = ("cell", "seed", *steps, *declared.axes) if drawn else ("cell", *steps, *declared.axes)
                variables[side, field] = axes, values if drawn else values[:, 0]
    variables["simulation", "diverged"] = ("cell", "seed"), np.zeros((cells, seeds), bool)
    names = [plan.cells[cell].name for cell in group.cells]
    return store.Block(names, plan.seeds, np.ones((cells, seeds), bool), variables, coordinates(variables, group.steps), {})
