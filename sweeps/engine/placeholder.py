"""A result before anything is computed: shapes, axes, labels and provenance as they will be, and numbers that mean nothing.

For the tests: the code of an experiment is traced, never compiled or run. A figure can be drawn from it, and a contract
checked, in a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..contract.groups import Group
from ..contract.precision import stored_dtype
from ..contract.request import Plan
from ..results import store
from ..results.identities import identified
from ..results.merge import coordinates, merged
from . import provenance

if TYPE_CHECKING:
    import xarray


def placeholder(plan: Plan) -> xarray.DataTree:
    """The result of a plan with positive numbers of order one that agree with the prediction up to a few per cent of spread.

    Raises what `run` raises before it compiles: `UsageError` for a broken contract, and what the experiment's own code raises.
    """
    plan = identified(plan)
    if plan.broken:
        raise plan.broken[min(plan.broken)]
    draw = np.random.default_rng(0)
    pieces = [(_block(plan, group, draw), list(range(len(group.cells))), group.cells) for group in plan.groups]
    return merged(plan, pieces, (), provenance.new(plan, plan.cells[0].config, seconds=0.0))


def _block(plan: Plan, group: Group, draw: np.random.Generator) -> store.Block:
    cells, seeds = len(group.cells), len(plan.seeds)
    variables: dict[tuple[str, str], tuple[tuple[str, ...], np.ndarray]] = {}
    truths: dict[str, np.ndarray] = {}  # those of a field, from which its simulation and its predictions spread
    for side, result in group.shapes.items():
        lead = ("cell", "seed") if side in ("simulation", "curves") or group.experiment.conditional else ("cell",)
        for key, axes, leaf in group.named(side, result, lead):
            if key[1] not in truths:  # of a simulation, whose shape is that of one step
                steps = (len(group.steps),) if "step" in axes and group.steps is not None else ()
                truths[key[1]] = draw.uniform(0.2, 1.0, (cells, 1, *steps, *leaf.shape))
            truth = truths[key[1]]
            values = truth * draw.normal(1.0, 0.02, (cells, seeds if "seed" in axes else 1, *truth.shape[2:]))
            variables[key] = axes, (values if "seed" in axes else values[:, 0]).astype(stored_dtype(leaf.dtype))
    variables["simulation", "diverged"] = ("cell", "seed"), np.zeros((cells, seeds), bool)
    names = [plan.cells[cell].name for cell in group.cells]
    labels = coordinates(variables, group.labels, group.steps)
    return store.Block("simulation", names, plan.seeds, np.ones((cells, seeds), bool), variables, labels, {})
