"""Results on disk: netCDF files, each the runs of one part, named by what they hold, complete or absent.

A file is an xarray `DataTree`: of a simulation with the group `simulation`, of predictions with `prediction` (and
`prediction_<rival>`). Their axes carry the names that the experiment gave them, plus `seed` and `step` (and `cell`, where a
file holds several cells of a large grid). The group `runs` says which runs it holds; the attribute `closedform` is one JSON
text of provenance. It is written to memory, then to a temporary name, and renamed: a reader meets a whole file or none. No
byte of it is read that has changed since (sealed.py says how); other programs notice a changed number by the checksums of
HDF5 (fletcher32). The final file of a part is never changed: two processes that store the same runs write the same numbers,
and one that stores more writes another file, then removes what that supersedes. Nothing in a file is ever executed (netCDF
and JSON, no pickle).

    <results>/<experiment>/<2 digits>/<cell>-<...>.nc     one cell (a folder for each first byte: none grows large)
                           blocks/<2 digits>/<...>.nc     several cells
                           predictions/...                the same again for predictions, which have a digest of their own
                           *.partial.nc                   finished runs of a part that is not complete, replaced by more
                           states/<2 digits>/<...>.nc     what runs were trained to (see states.py)
                           checkpoints/<part>/            of runs in progress
                           programs/<...>.json            what sources were traced to (see identities.py)
                           locks/<part>                   held by the process that works on it
                           failed/<hash>.json             cells that raised
                           sweeps/<sweep>.json, .nc       what was asked; of `closedform sweep` also its result as one file
                           runs/<run>.json                what was asked of `run`
                           jobs/<sweep>/                  of the launcher
    <results>/<experiment>.png, .pdf                      the figure that `reproduce` draws
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..errors import UsageError
from . import locks, netcdf, sealed

if TYPE_CHECKING:  # a folder without results is listed without NumPy
    import numpy as np
    import xarray

SCHEMA = 3
_SEARCHED_BYTES = 4 << 20  # of either end of a file without a label

Kind = Literal["simulation", "prediction"]


class Block(NamedTuple):
    """The content of a file: a rectangle of cells and seeds, and which of its runs are there."""

    kind: Kind
    cells: list[str]
    seeds: list[int]
    stored: np.ndarray  # bool (cell, seed)
    variables: dict[tuple[str, str], tuple[tuple[str, ...], np.ndarray]]  # {(group, field): (axes, array)}, first axis: cell
    coordinates: dict[str, np.ndarray]  # {axis: labels}, those of cell and seed aside
    provenance: dict[str, Any]
    origin: np.ndarray | None = None  # int (cell, seed): which of the provenance's `origins` computed the run

    def origins(self) -> Iterator[tuple[dict[str, Any], list[int]]]:
        """Each process that computed some of these runs, and their seeds."""
        for number, origin in enumerate(self.provenance["origins"]):
            columns = (self.stored & (self.origin == number)).any(axis=0) if self.origin is not None else []
            yield origin, [seed for seed, mine in zip(self.seeds, columns, strict=False) if mine]


class Header(NamedTuple):
    """What a file holds, without its numbers."""

    path: Path
    kind: Kind
    digest: str  # of the traced programs
    version: str  # of the sources and of jax, as information
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


def write_bytes(path: Path, *pieces: bytes | memoryview) -> None:
    """Make `path` hold the pieces, whole or not at all. Raises `UsageError` where the disk refuses."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locks.writing(temporary):
            with open(temporary, "wb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UsageError(f"{path}: cannot be written ({error.strerror}); finished results in other files are kept") from error


def remove_cut_off(folder: Path, name: str = "") -> None:
    """Remove what processes that died were writing in a folder, or of one file."""
    for path in folder.glob(f".{name}*.tmp"):
        if locks.abandoned(path):
            path.unlink(missing_ok=True)


def write_tree(path: Path, tree: xarray.DataTree, held: Mapping[str, Any] | None = None) -> None:
    """Store a labelled result whose attribute `closedform` is its provenance; `held` goes to the label (see sealed.py)."""
    said = provenance(tree)
    tree.attrs["closedform"] = json.dumps({**said, "schema": SCHEMA})
    content = netcdf.to_bytes(tree)  # in memory: HDF5 never meets a full disk
    label = {"schema": SCHEMA, "experiment": said.get("experiment"), **(held or {})}
    write_bytes(path, content, sealed.seal(content, label))


def read_tree(path: Path, aside: bool = True) -> tuple[xarray.DataTree | None, str]:
    """The stored tree, loaded, and a message; (None, why) for a file that cannot be trusted, which is kept `aside`."""
    label, content, message = _read(path, sealed.read, aside)
    if label is None:
        return None, message
    try:
        return netcdf.from_bytes(content), ""
    except MemoryError:
        raise
    except Exception as error:  # no damage, for every byte is as it was written
        raise UsageError(f"{path}: cannot be read ({type(error).__name__}: {str(error).partition(chr(10))[0]})") from error


def read_label(path: Path, aside: bool = True) -> tuple[dict[str, Any] | None, str]:
    """What the label of a file says, and a message; (None, why) for a file that cannot be trusted, which is kept `aside`."""
    label, _, message = _read(path, lambda path: (sealed.read_label(path), b""), aside)
    return label, message


def _read(
    path: Path, read: Callable[[Path], tuple[dict[str, Any], bytes]], aside: bool = True
) -> tuple[dict[str, Any] | None, bytes, str]:
    try:
        if _left_out and _as_it_is(path) in _left_out:
            return None, b"", ""
        label, content = read(path)
        if label["schema"] == SCHEMA:
            return label, content, ""
        return None, b"", _other_schema(path, label["schema"]) if aside else ""
    except FileNotFoundError:  # another process has superseded it
        return None, b"", ""
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (sealed.Damaged, KeyError, TypeError) as error:
        older = _unsealed_schema(path) if isinstance(error, sealed.Unsealed) else None
        why = str(error) if isinstance(error, sealed.Damaged) else "label"
        message = (_damaged(path, why) if older is None else _other_schema(path, older)) if aside else ""
        return None, b"", message


def _unsealed_schema(path: Path) -> int | None:
    """The schema of a file from before there were labels, found without HDF5; None if it is no such file."""
    with sealed.opened(path) as file:
        head = file.read(_SEARCHED_BYTES)
        file.seek(max(len(head), file.seek(0, os.SEEK_END) - _SEARCHED_BYTES))
        found = re.search(rb'"schema": ([12])\b', head + file.read())
    return int(found[1]) if found and head.startswith(b"\x89HDF") else None


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged ({why}); {set_aside(path, 'damaged')}, computing again"


def _other_schema(path: Path, schema: Any) -> str:
    if isinstance(schema, int) and schema > SCHEMA:
        return f"{path} was written by a newer version of this package (schema {schema}, not {SCHEMA}); it is left alone"
    return f"{path} has schema {schema}, not {SCHEMA}; {set_aside(path, f'schema{schema}')}, computing again"


_left_out: set[tuple[Path, int, int]] = set()  # by this process: what cannot be trusted, where nothing can be renamed


def _as_it_is(path: Path) -> tuple[Path, int, int]:
    said = path.stat()
    return path, said.st_mtime_ns, said.st_ino


def set_aside(path: Path, reason: str) -> str:
    """Rename a file that cannot be trusted, and say so; where nothing can be renamed it is only left out from now on."""
    number = 0
    while (target := path.with_suffix(f".{reason}{'' if number == 0 else f'-{number}'}")).exists():
        number += 1
    try:
        os.replace(path, target)
    except FileNotFoundError:  # another process has done so at the same time
        pass
    except OSError as error:
        with contextlib.suppress(OSError):
            _left_out.add(_as_it_is(path))
        return f"left out (it cannot be renamed: {error.strerror})"
    return f"kept as {target.name}"


def group(tree: xarray.DataTree, name: str) -> xarray.Dataset:
    """One group of a result ("simulation", "prediction", ...) as a dataset."""
    return tree.children[name].to_dataset()


# --- blocks -----------------------------------------------------------------------------------------------------------------


def write(path: Path, block: Block) -> None:
    """Store a block, whole or not at all, marking the runs that diverged (a value that is not finite)."""
    import numpy as np
    import xarray

    groups: dict[str, dict[str, Any]] = {}
    for (side, name), (axes, array) in block.variables.items():
        groups.setdefault(side, {})[name] = (axes, array)
    if block.kind == "simulation":
        groups["simulation"].pop("diverged", None)
        shown = (array for _, array in groups["simulation"].values())
        finite = [np.isfinite(array).all(axis=tuple(range(2, array.ndim))) for array in shown]
        groups["simulation"]["diverged"] = ("cell", "seed"), block.stored & ~np.logical_and.reduce(finite)
    groups["runs"] = {"stored": (("cell", "seed"), block.stored)}
    if block.origin is not None:
        groups["runs"]["origin"] = ("cell", "seed"), block.origin.astype(np.int16)
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
    said = block.provenance | {"kind": block.kind}
    tree.attrs["closedform"] = json.dumps(said)
    held = {"kind": block.kind, "digest": said["digest"], "version": version_of(said), "cells": block.cells}
    write_tree(path, tree, held | {"seeds": block.seeds, "stored": np.packbits(block.stored).tobytes().hex()})
    for node in tree.children.values():
        node.dataset = xarray.Dataset()  # a tree refers to itself: its arrays would stay until Python looks for such circles


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
    stored = variables.pop(("runs", "stored"))[1]
    _, origin = variables.pop(("runs", "origin"), ((), None))
    said = provenance(tree)
    return Block(said["kind"], cells, seeds, stored, variables, coordinates, said, origin), ""


def _plain(labels: np.ndarray) -> np.ndarray:
    """Words as numpy's own, whatever the file's reader makes of them."""
    return labels if labels.dtype.kind in "biuf" else labels.astype(str)


def header(path: Path, aside: bool = True) -> tuple[Header | None, str]:
    """What a file holds, from its label; its numbers are neither read nor checked."""
    import numpy as np

    label, message = read_label(path, aside)
    if label is None:
        return None, message
    try:
        cells, seeds = label["cells"], label["seeds"]
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(label["stored"]), np.uint8), count=len(cells) * len(seeds))
    except KeyError:  # the states of runs, or a whole sweep
        return None, _damaged(path, "label") if aside else ""
    stored = bits.reshape(len(cells), len(seeds)).astype(bool)
    return Header(path, label["kind"], label["digest"], label["version"], cells, seeds, stored), ""


def files_below(folder: Path, pattern: str) -> list[Path]:
    """The files whose path ends as the pattern says, at any depth; a folder that somebody removes meanwhile is passed over."""
    found = (Path(where, name) for where, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if path.match(pattern))


def headers(home: Path, cells: Iterable[str], aside: bool = True) -> tuple[list[Header], list[str]]:
    """The files below `home` that hold some of the cells, in a fixed order, and messages.

    A file that cannot be trusted is kept `aside` under another name, or only left out.
    """
    wanted = set(cells)
    paths = []
    for folder in (home, home / "predictions"):
        for shard in sorted({cell[:2] for cell in wanted}):
            paths += [path for path in sorted((folder / shard).glob("*.nc")) if path.name.partition("-")[0] in wanted]
        paths += sorted((folder / "blocks").glob("*/*.nc"))
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


def version_of(said: dict[str, Any]) -> str:
    """The sources, and the jax that traced them: results of one version belong together."""
    return f"{said['sources']} {said['versions']['jax']}"
