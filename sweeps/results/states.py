"""Trained states of runs, as results of their own: a measurement at the end can change without training again.

    <results>/<experiment>/states/<2 digits>/<training>-<seeds>.nc

`training` is a hash of the traced program of the training, its traced values and the root seed: what is measured at its end is
no part of it, so cells that differ in that alone share a state. A file holds some seeds: the state as nested groups with the
names of its fields, whether the run was free of NaN, and what was recorded on the way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from ..contract.config import hashed
from ..errors import on_stderr
from . import store

if TYPE_CHECKING:
    import xarray


class Trained(NamedTuple):
    """Some stored runs, with the place in the loop that a checkpoint has."""

    path: Path
    seeds: list[int]
    begin: int  # all steps are done ...
    row: int  # ... and all records made


def load(saved: Trained, rows: list[int], capacity: int, like: Any) -> Any:
    """Some of the runs as a block of `capacity` runs, with the structure and types of the block `like`."""
    tree, message = store.read_tree(saved.path)
    if tree is None:
        raise ValueError(message or f"{saved.path} has gone")
    padded = np.asarray([*rows, *[rows[0]] * (capacity - len(rows))])
    leaves = [_restored(tree, path, padded, model) for path, model in jax.tree_util.tree_leaves_with_path(like)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def save(home: Path, name: str, seeds: list[int], carry: Any, leaves: Sequence[np.ndarray], said: dict[str, Any]) -> None:
    """Store the final states of some runs of one training. Raises `UsageError` where the disk refuses."""
    import xarray

    groups: dict[str, dict[str, Any]] = {}
    values = iter(leaves)
    for path, leaf in jax.tree_util.tree_leaves_with_path(carry):
        if leaf.size:
            *folders, last = names = _names(path)
            array = next(values)
            axes = ("seed", *_axes(names, array.ndim - 1))
            groups.setdefault("/".join(folders) or "/", {})[last] = (axes, array)
    datasets = {name: xarray.Dataset(variables, {"seed": np.asarray(seeds, np.int64)}) for name, variables in groups.items()}
    tree = xarray.DataTree.from_dict(datasets)
    tree.attrs["closedform"] = json.dumps(said)
    store.write_tree(home / "states" / name[:2] / f"{name}-{hashed(seeds, 8)}.nc", tree, {"seeds": seeds})


def find(home: Path, name: str, wanted: Iterable[int], say: Callable[[str], None]) -> list[tuple[Path, list[int], list[int]]]:
    """Files that hold wanted seeds of a training: (path, its seeds, the rows to take from it); no seed is taken twice."""
    left, found = set(wanted), []
    for path in sorted((home / "states" / name[:2]).glob(f"{name}-*.nc")):
        label, message = store.read_label(path)
        if message:
            say(message)
        seeds = label.get("seeds", []) if label is not None else []
        if rows := [row for row, seed in enumerate(seeds) if seed in left]:
            left -= {seeds[row] for row in rows}
            found.append((path, seeds, rows))
    return found


def attach(
    tree: xarray.DataTree,
    home: Path,
    names: Sequence[str | None],
    shape: tuple[int, ...],
    say: Callable[[str], None] = on_stderr,
) -> None:
    """Add to a result, under `state`, the trained states of its runs; leaves lead with the swept axes and `seed`.

    `names` are those of the trainings of its cells, in order. Where sizes differ between cells the short axes end in NaN (in 0
    for whole numbers), and so does a run that is not kept.
    """
    import xarray

    simulation = store.group(tree, "simulation")
    *lead, last = simulation["diverged"].dims
    column = {seed: place for place, seed in enumerate(simulation["seed"].values.tolist())}
    pieces: dict[str, list[tuple[int, list[int], np.ndarray]]] = {}
    for cell, name in enumerate(names):
        for path, seeds, rows in find(home, name, column, say) if name else ():
            stored, message = store.read_tree(path)
            if message:
                say(message)
            columns = [column[seeds[row]] for row in rows]
            for where, array in _variables(stored) if stored is not None else ():
                pieces.setdefault(where, []).append((cell, columns, array[rows]))
    groups: dict[str, dict[str, Any]] = {}
    for where, parts in pieces.items():
        inner = np.max([part.shape[1:] for _, _, part in parts], axis=0, initial=0).astype(int).tolist()
        dtype = parts[0][2].dtype
        blank = np.nan if np.issubdtype(dtype, np.inexact) else 0
        whole = np.full((math.prod(shape), len(column), *inner), blank, dtype)
        for cell, columns, part in parts:
            whole[(cell, columns, *(slice(size) for size in part.shape[1:]))] = part
        folder, _, name = where.rpartition("/")
        axes = (*lead, last, *_axes(where.split("/"), len(inner)))
        groups.setdefault(folder, {})[name] = (axes, whole.reshape(*shape, len(column), *inner))
    coordinates = {axis: simulation[axis] for axis in (*lead, last) if axis in simulation.coords}
    for folder, variables in groups.items():
        tree[folder] = xarray.DataTree(xarray.Dataset(variables, coordinates))


def _variables(tree: xarray.DataTree) -> Iterator[tuple[str, np.ndarray]]:
    """The leaves of the state by path: state/params/w; of a state that is one array state/state."""
    for node in tree.subtree:
        for name, array in node.data_vars.items():
            where = f"{node.path}/{name}".strip("/")
            if where == "state" or where.startswith("state/"):
                yield "state/state" if where == "state" else where, array.values


def _axes(names: list[str], count: int) -> list[str]:
    """Names of the axes of a leaf alone, for a group inherits those of the groups around it: params.w_0, params.w_1."""
    return [f"{'.'.join(names[1:]) or names[0]}_{axis}" for axis in range(count)]


def _names(path: tuple) -> list[str]:
    """The fields on the way to a leaf: state, params, w."""
    return [str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key)))) for key in path]


def _restored(tree: xarray.DataTree, path: tuple, rows: np.ndarray, model: Any) -> Any:
    if model.size == 0:
        return jax.numpy.zeros(model.shape, model.dtype)
    *folders, last = _names(path)
    node = tree["/".join(folders)] if folders else tree
    values = np.asarray(node[last])[rows]
    if jax.numpy.issubdtype(model.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jax.numpy.asarray(values), impl=str(jax.random.key_impl(model)))
    return jax.numpy.asarray(values.astype(model.dtype))
