"""One stored file as a result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from . import sealed, states, store

if TYPE_CHECKING:
    import xarray


def open_file(path: Path, say: Callable[[str], None]) -> xarray.DataTree:
    """What a file holds, labelled: the runs of one cell, a whole sweep, or a trained state.

    Of one cell that was simulated also its prediction and its trained state, where their files stand beside it: then it is what
    `load` gives. Several cells of a large grid are along `cell`. The file is left as it is. Raises `UsageError` for a file that
    is none of ours, or has changed.
    """
    try:
        label = sealed.read_label(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except sealed.Damaged as error:
        raise UsageError(f"{path}: is no result of this package, or has changed since ({error})") from error
    if label.get("schema") != store.SCHEMA:
        raise UsageError(f"{path}: has schema {label.get('schema')}, not {store.SCHEMA}; allowed: a result of this version")
    tree, _ = store.read_tree(path, aside=False)
    if tree is None:
        raise UsageError(f"{path}: has changed since it was written (checksum)")
    if "kind" not in label or len(label["cells"]) > 1:
        return tree
    said = store.provenance(tree)
    result = _runs(tree)
    if label["kind"] == "simulation":
        cell, home = label["cells"][0], path.absolute().parent.parent
        for side, dataset in _predicted(path, home, cell, label, result).items():
            result[side] = dataset
        if trained := said.get("trained"):
            states.attach(result, home, [trained.get(cell)], (), say)
    said.pop("kind")
    result.attrs["closedform"] = json.dumps(said)
    return result


def _runs(tree: xarray.DataTree) -> xarray.DataTree:
    """The runs of one cell that are there, as `load` labels them."""
    import xarray

    stored = store.group(tree, "runs")["stored"].values
    groups = {}
    for side in tree.children:
        if side != "runs":
            dataset = store.group(tree, side).drop_vars("cell", errors="ignore")
            groups[side] = dataset.isel(seed=np.flatnonzero(stored)) if "seed" in dataset.dims else dataset
    return xarray.DataTree.from_dict(groups)


def _predicted(path: Path, home: Path, cell: str, label: dict, result: xarray.DataTree) -> dict[str, xarray.DataTree]:
    """The prediction beside a simulation: the last one; if it was simulated anew since, that of its own version of the code."""
    import xarray

    def beside(folder: Path, kind: str) -> list[store.Header]:
        found = (store.header(one, aside=False)[0] for one in sorted(folder.glob(f"{cell[:2]}/{cell}-*.nc")))
        return [one for one in found if one is not None and one.kind == kind]

    written = path.stat().st_mtime_ns
    others = [one for one in beside(home, "simulation") if one.digest != label["digest"]]
    files = beside(home / "predictions", "prediction")
    if any(one.path.stat().st_mtime_ns > written for one in others):
        files = [one for one in files if one.version == label["version"]]
    if not files:
        return {}
    last = max(files, key=lambda one: one.path.stat().st_mtime_ns)
    trees = [store.read_tree(one.path, aside=False)[0] for one in files if one.digest == last.digest]
    pieces = [_runs(tree) for tree in trees if tree is not None]
    seeds, sides = store.group(result, "simulation")["seed"].values, {}
    for side in pieces[0].children if pieces else ():
        datasets = [store.group(piece, side) for piece in pieces]
        whole = datasets[0]
        if "seed" in whole.dims:
            whole = xarray.concat(datasets, "seed").drop_duplicates("seed")
            if not np.isin(seeds, whole["seed"].values).all():
                return {}
            whole = whole.sel(seed=seeds)
        sides[side] = xarray.DataTree(whole)
    return sides
