"""Trained states of runs, as results of their own: a measurement at the end can change without training again.

    <results>/<experiment>/states/<2 digits>/<training>-<seeds>.nc

`training` is a hash of the traced program of the training, its traced values and the root seed: what is measured at its end is
no part of it, so cells that differ in that alone share a state. A file holds some seeds: the state as nested groups with the
names of its fields, whether the run was free of NaN, and what was recorded on the way.
"""

from __future__ import annotations

import functools
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
    stored = (np.asarray(tree["/".join(_names(path))])[padded] for path, model in _stored_leaves(like))
    return restored(like, stored)


def restored(like: Any, stored: Iterator[np.ndarray]) -> Any:
    """A block with the structure and types of the block `like`, of its leaves as they were stored; empty ones were not."""

    def leaf(model: Any) -> Any:
        if model.size == 0:
            return jax.numpy.zeros(model.shape, model.dtype)
        if jax.numpy.issubdtype(model.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jax.numpy.asarray(next(stored)), impl=str(jax.random.key_impl(model)))
        return jax.numpy.asarray(next(stored).astype(model.dtype))

    return jax.tree.map(leaf, like)


def _stored_leaves(carry: Any) -> list[tuple[tuple, Any]]:
    return [(path, leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(carry) if leaf.size]


def save(home: Path, name: str, seeds: list[int], carry: Any, leaves: Sequence[np.ndarray], said: dict[str, Any]) -> None:
    """Store the final states of some runs of one training. Raises `UsageError` where the disk refuses."""
    import xarray

    groups: dict[str, dict[str, Any]] = {}
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for (path, _), array in zip(_stored_leaves(carry), leaves, strict=True):
        *folders, last = names = _names(path)
        axes = ("seed", *_axes(names, array.ndim - 1))
        groups.setdefault("/".join(folders) or "/", {})[last] = (axes, array)
        shapes["/".join(names)] = array.dtype.str, array.shape[1:]
    datasets = {name: xarray.Dataset(variables, {"seed": np.asarray(seeds, np.int64)}) for name, variables in groups.items()}
    tree = xarray.DataTree.from_dict(datasets)
    tree.attrs["closedform"] = json.dumps(said)
    store.write_tree(home / "states" / name[:2] / f"{name}-{hashed(seeds, 8)}.nc", tree, {"seeds": seeds, "leaves": shapes})


class Found(NamedTuple):
    """A file with wanted seeds of a training."""

    path: Path
    seeds: list[int]  # all of it ...
    rows: list[int]  # ... and those to take
    leaves: dict[str, tuple[str, list[int]]]  # {path in the state: type, shape of one run}


def find(home: Path, name: str, wanted: Iterable[int], say: Callable[[str], None]) -> list[Found]:
    """Files that hold wanted seeds of a training; no seed is taken twice."""
    left, found = set(wanted), []
    for path in sorted((home / "states" / name[:2]).glob(f"{name}-*.nc")):
        label, message = store.read_label(path)
        if message:
            say(message)
        seeds = label.get("seeds", []) if label is not None else []
        if rows := [row for row, seed in enumerate(seeds) if seed in left]:
            left -= {seeds[row] for row in rows}
            found.append(Found(path, seeds, rows, label.get("leaves", {}) if label is not None else {}))
    return found


def attach(
    tree: xarray.DataTree,
    home: Path,
    names: Sequence[str | None],
    shape: tuple[int, ...],
    say: Callable[[str], None] = on_stderr,
) -> None:
    """Add to a result, under `state`, the trained states of its runs, which are read when they are asked for.

    Leaves lead with the swept axes and `seed`. `names` are those of the trainings of its cells, in order. Where sizes differ
    between cells the short axes end in NaN (in 0 for whole numbers), and so does a run that is not kept.
    """
    import xarray

    from .lazy import lazy

    simulation = store.group(tree, "simulation")
    *lead, last = simulation["diverged"].dims
    column = {seed: place for place, seed in enumerate(simulation["seed"].values.tolist())}
    pieces: dict[str, list[tuple[int, Found]]] = {}
    for cell, name in enumerate(names):
        for found in find(home, name, column, say) if name else ():
            for where in found.leaves:
                if where.partition("/")[0] == "state":
                    pieces.setdefault(where, []).append((cell, found))

    @functools.lru_cache(maxsize=1)  # one after the other, whatever is asked for of it
    def read(path: Path) -> xarray.DataTree | None:
        stored, message = store.read_tree(path)
        if message:
            say(message)
        return stored

    def leaf(where: str) -> np.ndarray:
        inner, dtype = of_all[where]
        whole = np.full((math.prod(shape), len(column), *inner), np.nan if dtype.kind in "fc" else 0, dtype)
        for cell, found in pieces[where]:
            if (stored := read(found.path)) is not None:
                part = np.asarray(stored[where])[found.rows]
                columns = [column[found.seeds[row]] for row in found.rows]
                whole[(cell, columns, *(slice(size) for size in part.shape[1:]))] = part
        return whole.reshape(*shape, len(column), *inner)

    of_all: dict[str, tuple[list[int], np.dtype]] = {}
    groups: dict[str, dict[str, Any]] = {}
    for where, parts in pieces.items():
        kinds, sizes = zip(*(found.leaves[where] for _, found in parts), strict=True)
        inner = np.max(sizes, axis=0, initial=0).astype(int).tolist()
        of_all[where] = inner, np.dtype(kinds[0])
        folder, _, name = where.rpartition("/")  # of a state that is one array: state/state
        axes = (*lead, last, *_axes(where.split("/"), len(inner)))
        array = lazy((*shape, len(column), *inner), np.dtype(kinds[0]), functools.partial(leaf, where))
        groups.setdefault(folder or "state", {})[name] = axes, array
    coordinates = {axis: simulation[axis] for axis in (*lead, last) if axis in simulation.coords}
    for folder, variables in sorted(groups.items()):  # a folder before those in it
        tree[folder] = xarray.DataTree(xarray.Dataset(variables, coordinates))


def _axes(names: list[str], count: int) -> list[str]:
    """Names of the axes of a leaf alone, for a group inherits those of the groups around it: params.w_0, params.w_1."""
    return [f"{'.'.join(names[1:]) or names[0]}_{axis}" for axis in range(count)]


def _names(path: tuple) -> list[str]:
    """The fields on the way to a leaf: state, params, w."""
    return [str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key)))) for key in path]
