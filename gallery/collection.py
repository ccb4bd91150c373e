"""The result of every experiment: as stored where it is, at small sizes otherwise."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from ..sweeps import Experiment, find, load, names, provenance, sweep
from ..sweeps.digest import source_digest
from ..sweeps.errors import UsageError
from ..sweeps.execution import cores
from ..sweeps.runner import manifest, request
from ..sweeps.stored import Stored

_SEEDS = 8  # at small sizes


def small_grid(experiment: Experiment) -> dict[str, tuple]:
    """The experiment's grid with two values a field, the smaller one from QUICK where that names the field."""
    quick = experiment.module.QUICK
    return {path: (quick[path], values[0]) if path in quick else values[:2] for path, values in experiment.grid.items()}


def stored_default(name: str, results: Path) -> Stored | None:
    """The result that `closedform reproduce` keeps, of the sources of now; None where it is not there."""
    experiment = find(name)
    return _loaded(experiment, experiment.default_config(), experiment.grid, results)


def stored_small(name: str, results: Path) -> Stored | None:
    """The same at small sizes."""
    experiment = find(name)
    return _loaded(experiment, experiment.default_config("quick"), small_grid(experiment), results)


def _loaded(experiment: Experiment, config: Any, over: dict[str, tuple], results: Path) -> Stored | None:
    plan = request(experiment.module, config, over, False, None, 0, results, None)
    result = load(experiment.module, config, over=over, results=results, say=lambda message: None)
    if result is None or provenance(result)["digest"] != source_digest(experiment.module):
        return None
    seeds = result["simulation"]["seed"].values.tolist()
    return Stored(experiment, {**manifest(plan), "seeds": seeds}, result, {}, stale=False)


def collect(
    results: Sequence[Path], small: Path, say: Callable[[str], None] = print, chosen: Sequence[str] | None = None
) -> dict[str, tuple[Stored, bool]]:
    """{experiment: (its result, whether it is of small sizes)}; what is in no folder of `results` is computed into `small`.

    Each is computed in a process of its own, so that the memory that it took is known.
    """
    wanted = names() if chosen is None else list(chosen)
    found: dict[str, tuple[Stored, bool]] = {}
    for name in wanted:
        for folder in results:
            if name not in found and (stored := stored_default(name, folder)) is not None:
                found[name] = stored, False
        if name not in found and (stored := stored_small(name, small)) is not None:
            found[name] = stored, True
    missing = [name for name in wanted if name not in found]
    if missing:
        say(f"computing {len(missing)} experiments at small sizes")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, min(cores(), len(missing))), context, max_tasks_per_child=1) as pool:
        for name, _ in zip(missing, pool.map(_compute, missing, [small] * len(missing)), strict=True):
            stored = stored_small(name, small)
            if stored is None:
                raise UsageError(f"{name}: cannot be computed at small sizes")
            found[name] = stored, True
            say(name)
    return {name: found[name] for name in wanted}


def _compute(name: str, results: Path) -> None:
    experiment = find(name)
    config, over = experiment.default_config("quick"), small_grid(experiment)
    sweep(experiment.module, config, over=over, seeds=_SEEDS, results=results, progress=False, say=lambda message: None)
