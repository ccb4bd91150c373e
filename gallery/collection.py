"""The result of every experiment: the stored one if there is one, otherwise one at small sizes."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from ..sweeps import Experiment, agrees, compare, find, names, provenance, sweep
from ..sweeps.api import ask, failures
from ..sweeps.contract.request import Request
from ..sweeps.engine.provenance import cores
from ..sweeps.errors import UsageError
from ..sweeps.results.catalogue import Stored
from ..sweeps.results.loading import load_plan
from ..sweeps.results.notes import manifest
from ..sweeps.results.stock import take_stock
from ..sweeps.results.store import group

_SEEDS = 8  # at small sizes


def small_grid(experiment: Experiment) -> dict[str, tuple]:
    """The experiment's grid with two values a field, the smaller one from QUICK where that names the field."""
    quick = experiment.presets["quick"]
    return {path: tuple(dict.fromkeys((quick.get(path, values[0]), *values)))[:2] for path, values in experiment.grid.items()}


def _sizes(experiment: Experiment, small: bool) -> tuple[Any, Mapping[str, tuple], int]:
    """Config, grid and seeds: the experiment's own, or small ones."""
    if small:
        return experiment.default_config("quick"), small_grid(experiment), _SEEDS
    return experiment.default_config(), experiment.grid, experiment.seeds


def stored_sizes(name: str, results: Path, small: bool) -> Stored | None:
    """The stored result of those sizes, with at least so many seeds, by the current code; None if there is none."""
    experiment = find(name)
    config, over, seeds = _sizes(experiment, small)
    plan = ask(Request(experiment, config, over, results=results))
    result = load_plan(plan, say=lambda message: None)
    if result is None or "stale" in provenance(result):
        return None
    kept = group(result, "simulation")["seed"].values.tolist()
    if len(kept) < seeds:
        return None
    failed = Counter(failure.line for failure in failures(plan, take_stock(plan)).values())
    return Stored(experiment, {**manifest(plan), "seeds": kept}, result, failed, "current")


def collect(
    results: Sequence[Path], own: Path, say: Callable[[str], None] = print, chosen: Sequence[str] | None = None
) -> dict[str, tuple[Stored, bool]]:
    """{experiment: (its result, whether it is of small sizes)}; what is in no folder of `results` is computed into `own`.

    Small sizes are a test of the code; where they are too small for what the experiment allows, its own sizes are computed.
    Each is computed in a process of its own, so that the memory that it took is known.
    """
    wanted = names() if chosen is None else list(chosen)
    found = {name: kept for name in wanted if (kept := _kept(name, [*results, own], own)) is not None}
    for small in (True, False):
        missing = [name for name in wanted if name not in found]
        if missing:
            say(f"computing {len(missing)} experiments at {'small' if small else 'their own'} sizes: {', '.join(missing)}")
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max(1, min(cores(), len(missing))), context, max_tasks_per_child=1) as pool:
            for name, _ in zip(missing, pool.map(_compute, missing, [own] * len(missing), [small] * len(missing)), strict=True):
                if (kept := _kept(name, [own], own)) is not None:
                    found[name] = kept
    if missing := [name for name in wanted if name not in found]:
        raise UsageError(f"{', '.join(missing)}: computed, and yet not there; is another program at work in {own}?")
    return {name: found[name] for name in wanted}


def _kept(name: str, results: Sequence[Path], own: Path) -> tuple[Stored, bool] | None:
    """The first result at the experiment's own sizes, else one at small sizes that agrees."""
    for folder in results:
        if (stored := stored_sizes(name, folder, small=False)) is not None:
            return stored, False
    stored = stored_sizes(name, own, small=True)
    if stored is None or stored.result is None or not agrees(compare(stored.experiment, stored.result)):
        return None
    return stored, True


def _compute(name: str, results: Path, small: bool) -> None:
    experiment = find(name)
    config, over, seeds = _sizes(experiment, small)
    options: dict[str, Any] = {"refresh": True, "progress": False, "say": lambda message: None}
    sweep(experiment, config, over=over, seeds=seeds, results=results, **options)
