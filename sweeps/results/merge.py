"""From the files of a plan to one labelled result."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract.request import Plan, Version
from . import store
from .stock import Stock, meeting

if TYPE_CHECKING:
    import xarray

POINT = "point"  # the axis of a grid whose fields are swept together


def assemble(
    plan: Plan, stock: Stock, shown: Sequence[Version | None], failed: Collection[int], say: Callable[[str], None]
) -> tuple[xarray.DataTree | None, bool]:
    """One result of all cells, None if there is nothing; and whether no file has gone or was found damaged (then None too).

    `shown` says of each cell whose numbers to take; of None what there is under its own names, runs that are not there being
    NaN. The swept fields are axes; where cells have axes of unequal length (a grid over sizes), the short ones end in NaN.
    """
    place = {cell.name: index for index, cell in enumerate(plan.cells)}
    wanted = [version or own for version, own in zip(shown, plan.versions, strict=True)]
    pieces, whole, first, took, trained = [], True, None, [], {}
    origins: dict[str, set[int]] = {}
    for file in stock.files:
        pairs = zip(*meeting(file.cells, place), strict=True)
        kept = [(row, index) for row, index in pairs if getattr(wanted[index], file.kind) == file.digest]
        if not kept:
            continue
        block, message = store.read(file.path)
        if block is None:
            whole = False
            say(message or f"{file.path} has gone; looking again")
            continue
        rows, at = [row for row, _ in kept], [index for _, index in kept]
        pieces.append((block, rows, at))
        said = block.provenance
        took.append((said["seconds"], said.get("memory", 0)))
        if file.kind == "simulation":
            trained |= said.get("trained", {})
            for origin, seeds in block.origins():
                origins.setdefault(json.dumps(origin), set()).update(seeds)
            if first is None or at[0] < first[0]:
                first = (at[0], said)
    if first is None or not whole:
        return None, whole
    seconds, memory = zip(*took, strict=True)
    said = {**first[1], "seconds": sum(seconds), "memory": max(memory), **({"trained": trained} if trained else {})}
    mine = {origin: sorted(seeds.intersection(plan.seeds)) for origin, seeds in origins.items()}
    said["origins"] = [json.loads(origin) | {"seeds": seeds} for origin, seeds in mine.items() if seeds]
    said.pop("kind")
    return merged(plan, pieces, failed, said), True


Piece = tuple[store.Block, list[int], list[int]]  # a block, rows of it, and the cells of the plan that these are


def merged(plan: Plan, pieces: list[Piece], failed: Collection[int], provenance: dict[str, Any]) -> xarray.DataTree:
    """One result of all pieces; the list is emptied on the way."""
    column = {seed: index for index, seed in enumerate(plan.seeds)}
    dtypes: dict[tuple[str, str], Any] = {}
    for block, _, _ in pieces:
        for key, (_, array) in block.variables.items():
            dtypes[key] = np.result_type(dtypes.get(key, array.dtype), array.dtype)
    pieces.sort(key=lambda one: one[2][0])  # in the order of the grid
    labels = _labels([block for block, _, _ in pieces])
    shape = (len(plan.cells), len(plan.seeds))
    whole: dict[tuple[str, str], tuple[tuple[str, ...], np.ndarray]] = {}
    while pieces:
        block, rows, at = pieces.pop()  # its memory is free once it is copied
        arrays = {}
        for key, (axes, array) in block.variables.items():
            inner = [axis for axis in axes if axis not in ("cell", "seed")]
            if key not in whole:
                lead, sizes = shape if "seed" in axes else shape[:1], [len(labels[axis]) for axis in inner]
                whole[key] = axes, np.full((*lead, *sizes), False if array.dtype == bool else np.nan, dtypes[key])
            arrays[key] = whole[key][1], [_places(labels[axis], block.coordinates[axis]) for axis in inner]
        columns, of = meeting(block.seeds, column)
        lay(block, (rows, at), (columns, of), block.stored[np.ix_(rows, columns)], arrays)
    return _labelled(plan, whole, labels, failed, provenance)


def lay(
    block: store.Block,
    cells: tuple[Sequence[int], Sequence[int]],
    seeds: tuple[Sequence[int], Sequence[int]],
    new: np.ndarray,
    arrays: Mapping[tuple[str, str], tuple[np.ndarray, Sequence[Sequence[int]]]],
) -> None:
    """Copy runs of a block into larger arrays, `{field: (array, places on its inner axes; none for equal ones)}`.

    `cells` and `seeds` are places in the block, and where these go; of these runs those that are `new` (cell, seed).
    """
    (rows, at), (columns, of) = cells, seeds
    for key, (target, inner) in arrays.items():
        axes, array = block.variables[key]
        if "seed" not in axes:
            target[np.ix_(at, *inner)] = array[rows]
            continue
        where, here = np.ix_(at, of, *inner), array[np.ix_(rows, columns)]
        mask = new.reshape(*new.shape, *[1] * (array.ndim - 2))
        target[where] = here if new.all() else np.where(mask, here, target[where])  # in most files all runs are there


def coordinates(
    variables: Mapping[Any, tuple[tuple[str, ...], np.ndarray]], labels: Mapping[str, tuple], steps: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Labels of the axes of a block's variables: those that are given, the steps, or positions from 0 on."""
    sizes = {axis: size for axes, array in variables.values() for axis, size in zip(axes, array.shape, strict=True)}
    found = {axis: np.arange(size) for axis, size in sizes.items() if axis not in ("cell", "seed")}
    found |= {axis: np.asarray(values) for axis, values in labels.items() if axis in found}
    return found if steps is None or "step" not in found else {**found, "step": steps}


def _labels(blocks: Sequence[store.Block]) -> dict[str, np.ndarray]:
    """The labels of each axis in all blocks together: in the order in which they come first, steps in their own."""
    axes = dict.fromkeys(axis for block in blocks for axis in block.coordinates)
    found = {}
    for axis in axes:
        pieces = [block.coordinates[axis] for block in blocks if axis in block.coordinates]
        if all(np.array_equal(piece, pieces[0]) for piece in pieces):  # as objects the labels of a long axis take gigabytes
            found[axis] = pieces[0]
            continue
        every = np.concatenate(pieces)
        found[axis] = np.unique(every) if axis == "step" else np.asarray(list(dict.fromkeys(every.tolist())), every.dtype)
    return found


def _places(labels: np.ndarray, some: np.ndarray) -> Sequence[int]:
    if np.array_equal(labels, some):
        return range(len(labels))
    place = {label: index for index, label in enumerate(labels.tolist())}
    return [place[label] for label in some.tolist()]


def _labelled(
    plan: Plan,
    whole: dict[tuple[str, str], tuple[tuple[str, ...], np.ndarray]],
    labels: dict[str, np.ndarray],
    failed: Collection[int],
    provenance: dict[str, Any],
) -> xarray.DataTree:
    import xarray

    lead = () if not plan.axes else (POINT,) if plan.zipped else tuple(plan.axes)
    swept: dict[str, Any] = {path: (POINT if plan.zipped else path, _coordinate(values)) for path, values in plan.axes.items()}
    if plan.zipped:
        swept[POINT] = np.arange(*plan.shape)
    if plan.axes and any(side == "simulation" for side, _ in whole):
        whole["simulation", "failed"] = ("cell",), np.asarray([index in failed for index in range(len(plan.cells))])
    groups: dict[str, dict[str, Any]] = {}
    for (side, name), (axes, array) in whole.items():
        shaped = array.reshape((*plan.shape, *array.shape[1:]))
        groups.setdefault(side, {})[name] = ((*lead, *axes[1:]), shaped)
    datasets = {}
    for side, variables in groups.items():
        used = {axis for axes, _ in variables.values() for axis in axes}
        coordinates = {**swept, "seed": plan.seeds, **labels}
        mine = {axis: value for axis, value in coordinates.items() if axis in used or axis in plan.axes}
        datasets[side] = xarray.Dataset(variables, mine)
    tree = xarray.DataTree.from_dict(datasets)
    tree.attrs["closedform"] = json.dumps(provenance)
    return tree


def _coordinate(values: tuple) -> np.ndarray:
    """Numbers, booleans and texts as they are; anything else (a tuple, None) as its text."""
    one_kind = any(all(isinstance(value, kind) for value in values) for kind in (bool, str)) or all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
    array = np.asarray(values) if one_kind else np.zeros(0, object)
    exact = array.dtype != object and array.tolist() == list(values)  # else numbers too large for a whole number of 64 bits
    return array if exact else np.asarray([_text(value) for value in values])


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list | tuple) else str(value)
