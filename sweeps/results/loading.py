"""Reading what is stored as one labelled result, computing nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract.request import Plan, Version
from ..errors import on_stderr
from . import store
from .failures import recorded_failures
from .merge import assemble
from .stock import Stock, take_stock, there, versions_in

if TYPE_CHECKING:
    import xarray

# of XLA, which change no number
_HARMLESS = ("--xla_force_host_platform_device_count", "--xla_dump", "--xla_hlo_dump", "--xla_hlo_graph", "--xla_hlo_profile")
PASSES = 10  # over the files of a request: more than one if another process supersedes or damages them meanwhile


def load_plan(plan: Plan, say: Callable[[str], None] = on_stderr) -> xarray.DataTree | None:
    """`load` of a request that is checked already."""
    for _ in range(PASSES):
        files, messages = store.headers(plan.home, [cell.name for cell in plan.cells])
        for message in messages:
            say(message)
        common = _common_seeds(plan, files, recorded_failures(plan))
        if not common:
            return None
        plan = plan._replace(seeds=common)
        stock = take_stock(plan)
        shown = stock.versions(plan)
        lost = [cell for cell, version in enumerate(shown) if version is None and not stock.simulated[cell].all()]
        tree, _ = read_whole(plan, stock, shown, lost, say)
        if tree is not None:
            return tree
    return None


def read_whole(
    plan: Plan, stock: Stock, shown: Sequence[Version | None], failed: Collection[int], say: Callable[[str], None]
) -> tuple[xarray.DataTree | None, bool]:
    """`assemble`, and what there is to say of the result."""
    tree, whole = assemble(plan, stock, shown, failed, say)
    if tree is not None:
        _tell(tree, plan, stock, shown, say)
    return tree, whole


def _common_seeds(plan: Plan, files: Sequence[store.Header], failed: Collection[int]) -> list[int]:
    """Seeds that every cell has, failed cells aside: of the current code if there are any, else of one earlier version."""
    seeds = sorted({seed for file in files for seed in file.seeds})
    rows = [cell for cell in range(len(plan.cells)) if cell not in failed] or list(range(len(plan.cells)))
    found = _common(there(files, plan.cells, seeds, plan.versions)[0, rows])
    for earlier in sorted({file.version for file in files}) if not found and not plan.experiment.plain else ():
        mine = [file for file in files if file.version == earlier]
        found = _common(there(mine, plan.cells, seeds, versions_in(mine, plan.cells))[0])
        if found:
            break
    return [seeds[column] for column in found]


def _common(have: np.ndarray) -> list[int]:
    return np.flatnonzero(have.all(axis=0)).tolist() if have.size else []


def _tell(tree: xarray.DataTree, plan: Plan, stock: Stock, shown: Sequence[Version | None], say: Callable[[str], None]) -> None:
    """Tell what was computed under different conditions, or by an earlier version of the code or of jax (noted as `stale`)."""
    if line := mixed(store.provenance(tree).get("origins", ())):
        say(f"{plan.experiment.name}: {line}")
    if all(version in (None, own) for version, own in zip(shown, plan.versions, strict=True)):
        return
    digests = {version.simulation for version in shown if version is not None}
    sources, jax = next(file.version for file in stock.files if file.digest in digests).split(" ")
    why = "computed by an earlier version of the code"
    if sources and sources == plan.sources:  # so something that it read, or jax, is another one
        constants = "its constants differ (made on another processor, or of other data?)"
        why = f"the sources are the same, {constants if jax == version('jax') else f'but computed under jax {jax}'}"
    tree.attrs["closedform"] = json.dumps(store.provenance(tree) | {"stale": why})
    say(f"{plan.experiment.name}: stale, {why}; --refresh computes it again")


def mixed(provenances: Iterable[Mapping[str, Any]]) -> str:
    """One line that names what differs between the runs of one result and may change their last bits; "" if nothing does.

    >>> mixed([{"device": "cpu", "cores": 1}, {"device": "cpu", "cores": 2}])
    'its runs were computed under different conditions, and may differ in their last bits: cores (1; 2)'
    >>> mixed([{"flags": "--xla_dump_to=/tmp"}, {"flags": ""}])
    ''
    """
    found: dict[str, dict[str, None]] = {}
    for said in provenances:
        for name, value in _conditions(said).items():
            found.setdefault(name, {})[value] = None
    parts = [f"{name} ({'; '.join(sorted(values))})" for name, values in found.items() if len(values) > 1]
    return (
        f"its runs were computed under different conditions, and may differ in their last bits: {', '.join(parts)}"
        if parts
        else ""
    )


def _conditions(said: Mapping[str, Any]) -> dict[str, str]:
    """What may change the last bits of a number, in words; without what a file does not say."""
    conditions = {name: str(said[name]) for name in ("device", "processor", "cores") if said.get(name)}
    versions = said.get("versions", {})
    conditions |= {name: versions[name] for name in ("jax", "jaxlib") if name in versions}
    if "flags" in said:
        words = [word for word in said["flags"].split() if not word.startswith(_HARMLESS)]
        conditions["flags of XLA"] = " ".join(sorted(words)) or "none"
    return conditions
