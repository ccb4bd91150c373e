"""Results on disk: one netCDF file per grid cell, named by what it holds, complete or absent.

A file is an xarray `DataTree` with the groups `simulation`, `prediction` (and `prediction_<rival>`), whose axes carry the
names that the experiment gave them, plus `seed` and `step`; the attribute `closedform` is one JSON text of provenance. It is
written to memory, then to a temporary name, and renamed: a reader meets the old file or the new one, never a part. Nothing
in a file is ever executed (netCDF and JSON, no pickle).
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.metadata
import io
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import config as config_
from .errors import UsageError
from .experiment import Experiment

if TYPE_CHECKING:
    import xarray

SCHEMA = 1
_ROOT = Path(__file__).resolve().parent.parent
_PACKAGE = __name__.split(".")[0]
_METADATA = {"TOLERANCE", "QUICK", "GRID", "PRESETS", "SEEDS"}  # read when results are compared, never part of one


def path_of(folder: Path, experiment: Experiment, config: Any, root_seed: int) -> Path:
    """`<folder>/<experiment>/<hash of experiment, root seed and whole config>.nc`."""
    identity = json.dumps([experiment.name, root_seed, config_.as_dict(config)], sort_keys=True)
    return folder / experiment.name / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.nc"


def check_writable(folder: Path) -> None:
    """Raise `UsageError` unless files can be made in `folder` (which is created)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
    except OSError as error:
        raise UsageError(f"results folder {folder}: cannot be written ({error.strerror}); choose another: --results") from error


def write(path: Path, tree: xarray.DataTree) -> None:
    """Store `tree` under `path`, whole or not at all. Raises `UsageError` where the disk refuses."""
    tree.attrs["closedform"] = json.dumps(dict(provenance(tree), schema=SCHEMA, content=_content(tree)))
    content = bytes(tree.to_netcdf(engine="h5netcdf"))  # in memory: HDF5 never meets a full disk
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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


def read(path: Path) -> tuple[xarray.DataTree | None, str]:
    """The stored tree, loaded, and a message. A file that cannot be trusted is kept aside and (None, why) returned."""
    import xarray

    if not path.exists():
        return None, ""
    try:
        tree = xarray.open_datatree(io.BytesIO(path.read_bytes()), engine="h5netcdf").load()
        schema, content = (provenance(tree)[name] for name in ("schema", "content"))
    except PermissionError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # whatever a damaged file makes HDF5, netCDF or JSON raise
        return None, f"{path} is damaged ({type(error).__name__}); kept as {_aside(path, 'damaged')}, computing again"
    if schema != SCHEMA:
        return None, f"{path} has schema {schema}, not {SCHEMA}; kept as {_aside(path, f'schema{schema}')}, computing again"
    if content != _content(tree):
        return None, f"{path} is damaged (checksum); kept as {_aside(path, 'damaged')}, computing again"
    return tree, ""


def set_aside(path: Path) -> str:
    """Keep a result of other sources under another name; returns a message."""
    return f"{path} was computed by other sources; kept as {_aside(path, 'stale')}"


def _aside(path: Path, reason: str) -> str:
    number = 0
    while (target := path.with_suffix(f".{reason}{'' if number == 0 else f'-{number}'}")).exists():
        number += 1
    os.replace(path, target)
    return target.name


def _content(tree: xarray.DataTree) -> str:
    digest = hashlib.sha256()
    for group in sorted(tree.children):
        for name, array in sorted(tree[group].variables.items()):
            digest.update(f"{group}/{name} {array.dims} {array.shape} {array.dtype}".encode())
            digest.update(np.ascontiguousarray(array.values).tobytes())
    return digest.hexdigest()


def group(tree: xarray.DataTree, name: str) -> xarray.Dataset:
    """One group of a result ("simulation", "prediction", ...) as a dataset."""
    return tree.children[name].to_dataset()


def provenance(tree: xarray.DataTree) -> dict[str, Any]:
    """What the result is: experiment, config, sources, versions, device, seconds (of a grid: of its first cell)."""
    return json.loads(tree.attrs["closedform"])


def new_provenance(experiment: Experiment, config: Any, root_seed: int, digest: str, seconds: float) -> dict[str, Any]:
    """Everything needed to say where a result came from; `seeds` stand in the file as a coordinate."""
    import jax

    device = jax.local_devices()[0]
    packages = ("closedform", "jax", "jaxlib", "numpy", "diffrax", "optimistix", "xarray")
    return {
        "experiment": experiment.name,
        "config": config_.as_dict(config),
        "root_seed": root_seed,
        "digest": digest,
        "git": _git(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "device": f"{device.platform}: {device.device_kind}",
        "seconds": seconds,
    }


@functools.cache
def _git() -> dict[str, Any] | None:
    def say(*command: str) -> str:
        return subprocess.run(["git", "-C", str(_ROOT), *command], capture_output=True, text=True, check=True).stdout

    try:
        if Path(say("rev-parse", "--show-toplevel").strip()).resolve() != _ROOT:
            return None  # installed inside somebody else's checkout
        return {"commit": say("rev-parse", "HEAD").strip(), "dirty": bool(say("status", "--porcelain").strip())}
    except (OSError, subprocess.CalledProcessError):
        return None


def source_digest(module: ModuleType) -> str:
    """Hash of the code of `module` and of all it imports from its own package, comments, docstrings and layout aside.

    What is only read when results are compared (TOLERANCE, GRID, ...) does not count, so a tolerance can be discussed
    without making a result stale.
    """
    digest = hashlib.sha256()
    file = getattr(module, "__file__", None)
    if file is None:
        return "interactive"  # a module typed into a session has no sources to compare
    for path in sorted(_imported(Path(file).resolve())):
        digest.update(_code(path, skip=_METADATA if path == Path(file).resolve() else set()).encode())
    return digest.hexdigest()[:16]


def _imported(start: Path) -> set[Path]:
    found, queue = set(), [start]
    while queue:
        path = queue.pop()
        if path in found:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            queue += [target for target in _targets(path, node) if target.is_file()]
    return found


def _targets(path: Path, node: ast.AST) -> Iterable[Path]:
    if isinstance(node, ast.ImportFrom):
        module = (node.module or "").split(".")
        if node.level:
            base = path.parents[node.level - 1].joinpath(*module)
        elif module[0] == _PACKAGE:
            base = _ROOT.joinpath(*module[1:])
        else:
            return []
        stems = [base, *(base / alias.name for alias in node.names)]
    elif isinstance(node, ast.Import):
        dotted = [alias.name.split(".") for alias in node.names]
        stems = [_ROOT.joinpath(*parts[1:]) for parts in dotted if parts[0] == _PACKAGE]
    else:
        return []
    return [target for stem in stems for target in (stem.with_suffix(".py"), stem / "__init__.py")]


def _code(path: Path, skip: set[str]) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            node.body = body[1:]  # type: ignore[attr-defined]
    tree.body = [node for node in tree.body if not (isinstance(node, ast.Assign) and _names(node) & skip)]
    return _structure(tree)


def _names(node: ast.Assign) -> set[str]:
    return {target.id for target in node.targets if isinstance(target, ast.Name)}


def _structure(node: Any) -> str:
    """Text of a syntax tree that, unlike `ast.dump`, is the same in every Python version: empty fields are left out."""
    if isinstance(node, list):
        return "[" + ",".join(map(_structure, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [f"{name}={_structure(value)}" for name, value in ast.iter_fields(node) if value not in (None, [])]
    return f"{type(node).__name__}({','.join(fields)})"
