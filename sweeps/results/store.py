"""Results on disk: netCDF files, each the runs of one part, named by what they hold, complete or absent.

A file is an xarray `DataTree` with the groups `simulation`, `prediction` (and `prediction_<rival>`), whose axes carry the
names that the experiment gave them, plus `seed` and `step` (and `cell`, where a file holds several cells of a large grid); the
attribute `closedform` is one JSON text of provenance. It is written to memory, then to a temporary name, and renamed: a reader
meets a whole file or none. The final file of a part is never changed: two processes that store the same runs write the same
numbers, and one that stores more writes another file, then removes what that supersedes. Nothing in a file is ever executed
(netCDF and JSON, no pickle).

    <results>/<experiment>/<2 digits>/<cell>-<...>.nc     one cell (a folder for each first byte: none grows large)
                           blocks/<2 digits>/<...>.nc     several cells
                           *.partial.nc                   finished runs of a part that is not complete, replaced by more
                           states/<2 digits>/<...>.nc     what runs were trained to (see states.py)
                           checkpoints/<part>/            of runs in progress
                           claims/<part>                  held by the process that works on it
                           failed/<hash>.json             cells that raised
                           sweeps/<sweep>.json, .nc       what was asked; of `closedform sweep` also its result as one file
                           jobs/<sweep>/                  of the launcher
    <results>/<experiment>.png, .pdf                      the figure that `reproduce` draws
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import UsageError

if TYPE_CHECKING:
    import xarray

SCHEMA = 2


class Block(NamedTuple):
    """The content of a file: a rectangle of cells and seeds, and which of its runs are there."""

    cells: list[str]
    seeds: list[int]
    stored: np.ndarray  # bool (cell, seed)
    variables: dict[tuple[str, str], tuple[tuple[str, ...], np.ndarray]]  # {(group, field): (axes, array)}, first axis: cell
    coordinates: dict[str, np.ndarray]  # {axis: labels}, those of cell and seed aside
    provenance: dict[str, Any]


class Header(NamedTuple):
    """What a file holds, without its numbers."""

    path: Path
    digest: str
    cells: list[str]
    seeds: list[int]
    stored: np.ndarray  # bool (cell, seed)


# --- whole files ------------------------------------------------------------------------------------------------------------


def check_writable(folder: Path) -> None:
    """Raise `UsageError` unless files can be made in `folder` (which is created)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
    except OSError as error:
        raise UsageError(f"results folder {folder}: cannot be written ({error.strerror}); choose another: --results") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Make `path` hold `content`, whole or not at all. Raises `UsageError` where the disk refuses."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UsageError(f"{path}: cannot be written ({error.strerror}); finished results in other files are kept") from error


def write_tree(path: Path, tree: xarray.DataTree) -> None:
    """Store a labelled result whose attribute `closedform` is its provenance; its checksum is added."""
    tree.attrs["closedform"] = json.dumps(dict(provenance(tree), schema=SCHEMA, content=_content(tree)))
    write_bytes(path, bytes(tree.to_netcdf(engine="h5netcdf")))  # in memory: HDF5 never meets a full disk


def read_tree(path: Path) -> tuple[xarray.DataTree | None, str]:
    """The stored tree, loaded, and a message. A file that cannot be trusted is kept aside and (None, why) returned."""
    import xarray

    try:
        content = path.read_bytes()
    except FileNotFoundError:  # another process has superseded it
        return None, ""
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        tree = xarray.open_datatree(io.BytesIO(content), engine="h5netcdf").load()
        schema, checksum = (provenance(tree)[name] for name in ("schema", "content"))
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes HDF5, netCDF or JSON raise
        return None, _damaged(path, type(error).__name__)
    if schema != SCHEMA:
        return None, _other_schema(path, schema)
    if checksum != _content(tree):
        return None, _damaged(path, "checksum")
    return tree, ""


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged ({why}); kept as {_aside(path, 'damaged')}, computing again"


def _other_schema(path: Path, schema: Any) -> str:
    if isinstance(schema, int) and schema > SCHEMA:
        return f"{path} was written by a newer version of this package (schema {schema}, not {SCHEMA}); it is left alone"
    return f"{path} has schema {schema}, not {SCHEMA}; kept as {_aside(path, f'schema{schema}')}, computing again"


def _aside(path: Path, reason: str) -> str:
    number = 0
    while (target := path.with_suffix(f".{reason}{'' if number == 0 else f'-{number}'}")).exists():
        number += 1
    try:
        os.replace(path, target)
    except OSError as error:
        raise UsageError(f"{path}: damaged, and cannot be renamed ({error.strerror})") from error
    return target.name


def _content(tree: xarray.DataTree) -> str:
    digest = hashlib.sha256()
    for node in sorted(tree.subtree, key=lambda node: node.path):
        group = node.path.strip("/")
        for name, array in sorted(node.variables.items()):
            values = array.values
            words = values.dtype.kind not in "biufc"  # which come back in another dtype than they went
            digest.update(f"{group}/{name} {array.dims} {array.shape} {'words' if words else array.dtype}".encode())
            digest.update(json.dumps(values.tolist()).encode() if words else np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def group(tree: xarray.DataTree, name: str) -> xarray.Dataset:
    """One group of a result ("simulation", "prediction", ...) as a dataset."""
    return tree.children[name].to_dataset()


# --- blocks -----------------------------------------------------------------------------------------------------------------


def write(path: Path, block: Block) -> None:
    """Store a block, whole or not at all, marking the runs that diverged (a value that is not finite)."""
    import xarray

    groups: dict[str, dict[str, Any]] = {}
    for (side, name), (axes, array) in block.variables.items():
        groups.setdefault(side, {})[name] = (axes, array)
    groups["simulation"].pop("diverged", None)
    shown = (array for _, array in groups["simulation"].values())
    finite = [np.isfinite(array).all(axis=tuple(range(2, array.ndim))) for array in shown]
    diverged = block.stored & ~np.logical_and.reduce(finite)
    groups["simulation"] |= {"diverged": (("cell", "seed"), diverged), "stored": (("cell", "seed"), block.stored)}
    labels = {
        **block.coordinates,
        "cell": np.asarray([int(cell, 16) for cell in block.cells], np.uint64),
        "seed": np.asarray(block.seeds, np.int64),
    }
    datasets = {}
    for side, variables in groups.items():
        used = {axis for axes, _ in variables.values() for axis in axes}
        dataset = xarray.Dataset(variables, {axis: labels[axis] for axis in labels if axis in used})
        datasets[side] = dataset.isel(cell=0) if len(block.cells) == 1 else dataset
    tree = xarray.DataTree.from_dict(datasets)
    tree.attrs["closedform"] = json.dumps(block.provenance)
    write_tree(path, tree)


def read(path: Path) -> tuple[Block | None, str]:
    """The stored block and a message; (None, why) for a file that cannot be trusted, which is kept aside."""
    tree, message = read_tree(path)
    if tree is None:
        return None, message
    variables, coordinates = {}, {}
    for side in tree.children:
        dataset = group(tree, side)
        dataset = dataset if "cell" in dataset.dims else dataset.expand_dims("cell")
        for name, array in dataset.data_vars.items():
            variables[side, str(name)] = tuple(map(str, array.dims)), array.values
        coordinates |= {str(axis): _plain(dataset[axis].values) for axis in dataset.dims}
    cells = [f"{cell:016x}" for cell in coordinates.pop("cell").tolist()]
    seeds = coordinates.pop("seed").tolist()
    stored = variables.pop(("simulation", "stored"))[1]
    return Block(cells, seeds, stored, variables, coordinates, provenance(tree)), ""


def _plain(labels: np.ndarray) -> np.ndarray:
    """Words as numpy's own, whatever the file's reader makes of them."""
    return labels if labels.dtype.kind in "biuf" else labels.astype(str)


def header(path: Path, aside: bool = True) -> tuple[Header | None, str]:
    """What a file holds, in a millisecond; its numbers are neither read nor checked."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            said = json.loads(str(file.attrs["closedform"]))
            if said["schema"] != SCHEMA:
                return None, _other_schema(path, said["schema"]) if aside else ""
            simulation = file["simulation"]
            cells = np.atleast_1d(simulation["cell"][()])  # type: ignore[index]
            seeds = simulation["seed"][()].tolist()  # type: ignore[index,union-attr]
            stored = np.reshape(simulation["stored"][()], (len(cells), len(seeds))).astype(bool)  # type: ignore[index]
            return Header(path, said["digest"], [f"{cell:016x}" for cell in cells.tolist()], seeds, stored), ""
    except FileNotFoundError:
        return None, ""
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes HDF5 or JSON raise
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not the file's
            raise UsageError(f"{path}: cannot be read ({os.strerror(error.errno)})") from error
        return None, _damaged(path, type(error).__name__) if aside else ""


def files_below(folder: Path, pattern: str) -> list[Path]:
    """The files whose path ends as the pattern says, at any depth; a folder that somebody removes meanwhile is passed over."""
    found = (Path(where, name) for where, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if path.match(pattern))


def headers(home: Path, cells: Iterable[str], aside: bool = True) -> tuple[list[Header], list[str]]:
    """The files below `home` that hold some of the cells, in a fixed order, and messages.

    A file that cannot be trusted is kept `aside` under another name, or only left out.
    """
    wanted = set(cells)
    paths = [
        path
        for shard in sorted({cell[:2] for cell in wanted})
        for path in sorted((home / shard).glob("*.nc"))
        if path.name.partition("-")[0] in wanted
    ]
    paths += sorted((home / "blocks").glob("*/*.nc"))
    found, messages = [], []
    for path in paths:
        one, message = header(path, aside)
        if message:
            messages.append(message)
        if one is not None and not wanted.isdisjoint(one.cells):
            found.append(one)
    return found, messages


# --- where a result comes from ----------------------------------------------------------------------------------------------


def provenance(tree: xarray.DataTree) -> dict[str, Any]:
    """What the result is: experiment, config (of a grid: of its first cell), sources, versions, device, and what it took.

    `seconds` are those of all threads together, compiling included; `memory` the most bytes that a computing process held.
    """
    return json.loads(tree.attrs["closedform"])


def mark_stale(tree: xarray.DataTree) -> None:
    """Note in a result that it was computed by an earlier version of the code."""
    tree.attrs["closedform"] = json.dumps({**provenance(tree), "stale": True})
