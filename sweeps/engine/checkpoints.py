"""Checkpoints of runs with steps (dynamics, training): state, recorded history and place in the loop of some runs of a part.

The arrays are written by orbax, then a file that says whose they are and how every byte of orbax's files adds up: a checkpoint
that was cut off lacks it, and what has changed since is noticed before orbax sees it. They live in the user's own results
folder, next to the results, and are read from nowhere else; arrays and JSON, nothing that is executed. A run continues exactly,
to the last bit.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ...console import first_line
from ..errors import UsageError
from ..results import sealed, states, store

_SCHEMA = 2
_ABOUT = "about.json"
_ASIDE = ".damaged"
_OVERHEAD_BYTES = 1 << 18  # of a checkpoint, besides its arrays
_ALONE = threading.Lock()


class Saved(NamedTuple):
    """A checkpoint: `runs` are (cell name, seed), row by row of the arrays; `begin` steps are done, `row` records made."""

    path: Path
    runs: list[tuple[str, int]]
    begin: int
    row: int
    digest: str  # of the sources


def save(folder: Path, runs: list[tuple[str, int]], begin: int, row: int, leaves: list[np.ndarray], digest: str) -> Saved:
    """Write a checkpoint of the runs, then remove the one before it. Raises `UsageError` where the disk refuses."""
    block = hashlib.sha256(json.dumps(runs).encode()).hexdigest()[:16]
    path = folder.absolute() / f"{block}-{begin}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < sum(leaf.nbytes for leaf in leaves) + _OVERHEAD_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # orbax would end in the middle, and noisily
        with _orbax() as checkpointer:
            checkpointer.save(path, {f"{index:04d}": leaf for index, leaf in enumerate(leaves)}, force=True)
        about = {"schema": _SCHEMA, "runs": runs, "begin": begin, "row": row, "digest": digest}
        about |= {"sizes": _sizes(path), "files": _checksums(path)}
        store.write_bytes(path / _ABOUT, sealed.to_json(about))
    except UsageError:
        raise
    except Exception as error:  # orbax wraps what the disk says
        full = "No space left on device" in str(error)
        why = error.strerror if isinstance(error, OSError) else "No space left on device" if full else _line(error)
        raise UsageError(f"{path}: a checkpoint cannot be written ({why}); finished results are kept") from error
    for older in folder.glob(f"{block}-*"):
        if older.name != path.name and older.suffix != _ASIDE:
            shutil.rmtree(older, ignore_errors=True)
    return Saved(path, runs, begin, row, digest)


def find(folder: Path, tidy: bool) -> tuple[list[Saved], list[str]]:
    """The checkpoints of a part, furthest first, and messages; with `tidy` (nobody else writes here) leftovers are removed."""
    saved, messages = [], []
    for path in sorted(folder.absolute().iterdir()) if folder.is_dir() else []:
        if path.suffix == _ASIDE:
            continue
        if not path.name.rpartition("-")[2].isdigit() or not (path / _ABOUT).exists():  # cut off while it was written
            if tidy:
                shutil.rmtree(path, ignore_errors=True)
            continue
        if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
            messages.append(f"checkpoint {path} belongs to another user and is not read; its runs start again")
            continue
        try:
            about = _checked(path)
            runs = [(cell, seed) for cell, seed in about["runs"]]
            saved.append(Saved(path, runs, about["begin"], about["row"], about["digest"]))
        except (ValueError, KeyError, TypeError, OSError) as error:
            if tidy:
                set_aside(path)
            messages.append(f"checkpoint {path} is damaged ({_line(error)}); its runs start again")
    return sorted(saved, key=lambda one: -one.begin), messages


def set_aside(path: Path) -> None:
    """Keep a checkpoint that cannot be read under another name, until its part is complete."""
    with contextlib.suppress(OSError):
        shutil.rmtree(target := path.with_name(path.name + _ASIDE), ignore_errors=True)
        os.replace(path, target)


def load(saved: Saved, rows: list[int], capacity: int, like: Any) -> Any:
    """Some rows of a checkpoint as a block of `capacity` runs, with the structure and types of the block `like`."""
    _checked(saved.path)
    with _orbax() as checkpointer:
        tree = checkpointer.restore(saved.path)
    padded = np.asarray([*rows, *[rows[0]] * (capacity - len(rows))])
    return states.restored(like, (np.asarray(tree[name])[padded] for name in sorted(tree)))


def remove(folder: Path) -> None:
    """Forget the checkpoints of a part that is complete."""
    shutil.rmtree(folder, ignore_errors=True)


def plain_leaves(carry: Any) -> list[np.ndarray]:
    """Leaves as plain arrays in the memory of the host: keys as their words, empty ones left out."""
    leaves = [
        jax.random.key_data(leaf) if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        for leaf in jax.tree.leaves(carry)
    ]
    return [np.asarray(leaf) for leaf in leaves if leaf.size]


def _checked(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself; raises `sealed.Damaged` unless every byte of it is as it was written."""
    about = sealed.read_json(path / _ABOUT)
    if about["schema"] != _SCHEMA:
        raise sealed.Damaged(f"schema {about['schema']}, not {_SCHEMA}")
    if about["sizes"] != _sizes(path) or about["files"] != _checksums(path):
        raise sealed.Damaged("checksum")
    return about


def _sizes(path: Path) -> dict[str, int]:
    """The size of each file of orbax."""
    files = (file for file in sorted(path.rglob("*")) if file.name != _ABOUT and not file.is_dir())
    return {file.relative_to(path).as_posix(): file.stat().st_size for file in files}


def _checksums(path: Path) -> dict[str, str]:
    found = {}
    for name in _sizes(path):
        with sealed.opened(path / name) as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


@contextlib.contextmanager
def _orbax() -> Iterator[Any]:
    """A checkpointer for one thread at a time (orbax runs an event loop); errors are raised, and not logged as well."""
    import orbax.checkpoint

    logger = logging.getLogger("absl")
    with _ALONE:
        disabled, logger.disabled = logger.disabled, True
        try:
            yield orbax.checkpoint.PyTreeCheckpointer()
        finally:
            logger.disabled = disabled


def _line(error: Exception) -> str:
    return first_line(error)[:200]
