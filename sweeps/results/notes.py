"""What was asked, noted in the results folder: enough to name every cell without importing the experiment."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contract import config as config_
from ..contract.config import hashed
from ..contract.request import Plan, Version
from ..errors import UsageError
from . import sealed, store

if TYPE_CHECKING:
    import xarray


def manifest(plan: Plan) -> dict[str, Any]:
    """What was asked, as plain values: enough to name every cell without importing the experiment."""
    base = config_.as_dict(plan.cells[0].config)
    return {
        "schema": store.SCHEMA,
        "experiment": plan.experiment.name,
        "config": base,
        "over": {path: list(values) for path, values in plan.axes.items()},
        "zipped": plan.zipped,
        "seeds": plan.seeds,
        "root_seed": plan.root_seed,
        "digests": digests_of(plan),
        "files": [str(path) for path in plan.experiment.files],
    }


def digests_of(plan: Plan) -> list[Version]:
    """The version of each cell; one where all cells have the same."""
    return list(plan.versions[:1] if all(one == plan.versions[0] for one in plan.versions) else plan.versions)


def versions_asked(asked: dict[str, Any], count: int) -> list[Version]:
    """The version of each of `count` cells of a request that was noted."""
    found = [Version(*pair) for pair in asked["digests"]]
    return found * count if len(found) == 1 else found


def manifest_path(plan: Plan, folder: str = "sweeps") -> Path:
    """Where the request is noted: one file a request, whatever the version of the code."""
    return plan.home / folder / f"{hashed({**manifest(plan), 'digests': None, 'files': None})}.json"


def tasks_of(plan: Plan) -> int:
    """The number of processes for which the request was cut into parts, so that a process that joins later cuts it alike."""
    with contextlib.suppress(OSError, sealed.Damaged):
        return sealed.read_json(manifest_path(plan)).get("tasks", 1)
    return 1


def note_request(plan: Plan, tasks: int | None = None, folder: str = "sweeps") -> None:
    """Write the manifest, for `closedform status`; a folder that cannot be written may still hold all that was asked for."""
    path, content = manifest_path(plan, folder), sealed.to_json({**manifest(plan), "tasks": tasks or tasks_of(plan)})
    with contextlib.suppress(OSError, sealed.Damaged):
        if sealed.to_json(sealed.read_json(path)) == content:
            return
    with contextlib.suppress(UsageError):
        store.write_bytes(path, content)


def write_whole(plan: Plan, tree: xarray.DataTree) -> Path | None:
    """Keep the assembled result of a sweep as one file beside its manifest; None where the folder cannot be written."""
    path = manifest_path(plan).with_suffix(".nc")
    with contextlib.suppress(UsageError):
        store.write_tree(path, tree)
        return path
    return None
