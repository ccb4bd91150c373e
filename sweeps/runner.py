"""`run`: what is on disk is not computed again, what is missing is, and the whole comes back as one labelled result."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import config as config_
from . import store
from .errors import UsageError
from .execution import Group, Run, Settings, enable_compilation_cache, execute, precision, predict_cells, wants_float64
from .experiment import Experiment, check, find, recorded_steps
from .progress import bar

if TYPE_CHECKING:
    import xarray

RESULTS = "results"
ENGINE_DECIDES = Settings()


class Cell(NamedTuple):
    """One point of a grid and its file."""

    at: dict[str, Any]  # values of the swept fields
    config: Any
    path: Path


def run(
    experiment: str | ModuleType,
    config: Any = None,
    *,
    seeds: int | Iterable[int] | None = None,
    over: Mapping[str, Sequence[Any]] | None = None,
    root_seed: int = 0,
    results: str | Path = RESULTS,
    refresh: bool = False,
    settings: Settings = ENGINE_DECIDES,
    progress: bool = True,
    say: Callable[[str], None] = lambda message: print(message, file=sys.stderr),
) -> xarray.DataTree:
    """Simulate and predict an experiment over seeds (and a grid); returns the labelled result and keeps it on disk.

    Args:
        experiment: a name (`xor/phases`), or a module that follows the experiment contract.
        config: an instance of its `Config`, or `{field: value}` to change in the default one.
        seeds: how many (0, 1, ...), or which; the experiment's own number by default. More seeds later leave the first as
            they are.
        over: grid, `{field: values}`, nested fields with dots; the product is run and its fields become axes.
        root_seed: seed i uses `fold_in(key(root_seed), i)`.
        results: folder that keeps the results; running again computes only what it lacks.
        refresh: compute again what was computed by other sources than those of now (kept aside, never mixed).
        settings: how to execute; changes no number on a CPU.
        progress: show a progress bar on standard error.
        say: receives one-line messages (a stale or damaged file).

    Returns:
        `DataTree` with groups `simulation` and `prediction` (and `prediction_<rival>`): axes `seed`, `step`, those named in
        `Result`, and the swept fields; `simulation` also has `diverged`, True for a seed with a value that is not finite.

    Raises:
        UsageError: before anything compiles, for an unknown or invalid field, value or folder.
    """
    found = find(experiment)
    chosen = _seeds(found, seeds)
    cells = plan(found, config, over, root_seed, Path(results))
    digest = store.source_digest(found.module)
    trees: list[xarray.DataTree | None] = []
    missing: dict[int, list[int]] = {}
    superseded: list[Path] = []
    for index, cell in enumerate(cells):
        tree, message = store.read(cell.path)
        if message:
            say(message)
        stored = set() if tree is None else _stored_seeds(tree)
        absent = [seed for seed in chosen if seed not in stored]
        if tree is not None and store.provenance(tree)["digest"] != digest:
            if refresh or absent:
                superseded.append(cell.path)
                tree, absent = None, list(chosen)
            else:
                say(f"{found.name}: stale, computed by other sources than those of now; --refresh computes it again")
        trees.append(tree)
        if absent:
            missing[index] = absent
    if missing:
        store.check_writable(Path(results))
        enable_compilation_cache()
        job = _Job(found, cells, trees, missing, root_seed, digest)
        for path in superseded:
            say(store.set_aside(path))
        job.run(settings, progress)
    return assemble(cells, [_select(tree, chosen) for tree in trees if tree is not None])


def load(
    experiment: str | ModuleType,
    config: Any = None,
    *,
    over: Mapping[str, Sequence[Any]] | None = None,
    root_seed: int = 0,
    results: str | Path = RESULTS,
    say: Callable[[str], None] = lambda message: print(message, file=sys.stderr),
) -> xarray.DataTree | None:
    """The stored result over the seeds that all cells have, computing nothing; None if a cell is not there."""
    found = find(experiment)
    cells = plan(found, config, over, root_seed, Path(results))
    digest = store.source_digest(found.module)
    trees = []
    for cell in cells:
        tree, message = store.read(cell.path)
        if message:
            say(message)
        if tree is None:
            return None
        if store.provenance(tree)["digest"] != digest:
            say(f"{found.name}: stale, computed by other sources than those of now; --refresh computes it again")
        trees.append(tree)
    common = sorted(set.intersection(*map(_stored_seeds, trees)))
    return assemble(cells, [_select(tree, common) for tree in trees])


def plan(found: Experiment, config: Any, over: Mapping[str, Sequence[Any]] | None, root_seed: int, folder: Path) -> list[Cell]:
    """The cells of a grid (one without it), every value checked."""
    if not 0 <= root_seed < 2**32:
        raise UsageError(f"root_seed: got {root_seed}; allowed: 0 to 2**32 - 1")
    if config is None or isinstance(config, Mapping):
        config = config_.replace(found.module.Config(), config or {})
    if not isinstance(config, found.module.Config):
        raise UsageError(f"config: got {config!r}; allowed: an instance of {found.name}'s Config, or {{field: value}}")
    config_.validate(config)
    axes = {path: tuple(values) for path, values in (over or {}).items()}
    for path, values in axes.items():
        if not values or len(set(values)) < len(values):
            raise UsageError(f"{path}: got {values!r}; allowed: one or more distinct values")
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    configs = [config_.replace(config, point) for point in points]
    return [
        Cell({path: config_.as_dict(one)[path] for path in axes}, one, store.path_of(folder, found, one, root_seed))
        for one in configs
    ]


def _seeds(found: Experiment, seeds: int | Iterable[int] | None) -> list[int]:
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(range(found.seeds) if seeds is None else seeds)
    valid = all(isinstance(seed, int | np.integer) and 0 <= seed < 2**32 for seed in chosen)
    if not chosen or not valid or len(set(chosen)) < len(chosen):
        raise UsageError(f"seeds: got {seeds!r}; allowed: a number from 1 on, or distinct whole numbers from 0 to 2**32 - 1")
    return [int(seed) for seed in chosen]


def _stored_seeds(tree: xarray.DataTree) -> set[int]:
    return {int(seed) for seed in store.group(tree, "simulation")["seed"].values}


class _Job:
    """The missing runs of a set of cells: executed group by group, stored cell by cell as they finish."""

    def __init__(
        self,
        found: Experiment,
        cells: list[Cell],
        trees: list[xarray.DataTree | None],
        missing: dict[int, list[int]],
        root_seed: int,
        digest: str,
    ):
        self.found, self.cells, self.trees, self.missing = found, cells, trees, missing
        self.root_seed, self.digest = root_seed, digest
        self.done: dict[int, dict[int, dict[str, Any]]] = {index: {} for index in missing}
        self.predictions: dict[int, dict[str, Any]] = {}
        self.steps: dict[int, np.ndarray | None] = {}
        self.began: dict[int, float] = {}
        self.lock, self.stop = threading.Lock(), threading.Event()
        self.groups = self.grouped()

    def run(self, settings: Settings, progress: bool) -> None:
        total = sum(len(self.missing[index]) * group.length for group in self.groups for index in group.configs)
        with bar(self.found.name, total, progress) as advanced:
            for group in self.groups:
                self.began.update(dict.fromkeys(group.configs, time.perf_counter()))
                self.predictions.update(predict_cells(group))
                runs = [Run(index, seed) for index in group.configs for seed in self.missing[index]]
                try:
                    execute(group, runs, self.root_seed, settings, self.finished, advanced, self.stop)
                finally:  # Ctrl-C or an error: what is finished is kept
                    for index in group.configs:
                        if self.done[index]:
                            self.keep(index)

    def grouped(self) -> list[Group]:
        """Cells that share programs, all checked before the first compiles."""
        groups: dict[Any, Group] = {}
        for index in self.missing:
            config = self.cells[index].config
            steps = self.steps[index] = recorded_steps(self.found, config)
            key = (config_.static_key(config), steps if steps is None else steps.tobytes())
            if key not in groups:
                with precision(wants_float64(config)):
                    shapes = check(self.found, config, steps)
                groups[key] = Group(self.found, {}, steps, shapes)
            groups[key].configs[index] = config
        return list(groups.values())

    def finished(self, run: Run, results: dict[str, Any]) -> None:
        with self.lock:
            self.done[run.cell][run.seed] = results
            if len(self.done[run.cell]) == len(self.missing[run.cell]):
                self.keep(run.cell)

    def keep(self, index: int) -> None:
        """Write what is finished of a cell, together with the seeds that its file had."""
        tree = self.tree(index)
        store.write(self.cells[index].path, tree)
        self.trees[index] = tree
        self.done[index] = {}

    def tree(self, index: int) -> xarray.DataTree:
        import xarray

        seeds = sorted(self.done[index])
        runs = [self.done[index][seed] for seed in seeds]
        lead = () if self.steps[index] is None else ("step",)
        coordinates: dict[str, Any] = {} if self.steps[index] is None else {"step": self.steps[index]}
        groups = {
            side: self.dataset([one[side] for one in runs], ("seed", *lead), {"seed": seeds, **coordinates}) for side in runs[0]
        }
        simulation = groups["simulation"]
        finite = [np.isfinite(array.values).reshape(len(seeds), -1).all(axis=1) for array in simulation.data_vars.values()]
        diverged = ~np.logical_and.reduce(finite)
        groups["simulation"] = simulation.assign(diverged=("seed", diverged))
        for side, result in self.predictions[index].items():
            groups[side] = self.dataset([result], lead, coordinates)
        seconds = time.perf_counter() - self.began[index]
        old = self.trees[index]
        if old is not None:
            seconds += store.provenance(old)["seconds"]
            groups = {
                name: xarray.concat([store.group(old, name), group], "seed", join="exact").sortby("seed")
                if "seed" in group.dims
                else group
                for name, group in groups.items()
            }
        text = json.dumps(store.new_provenance(self.found, self.cells[index].config, self.root_seed, self.digest, seconds))
        return _tree(groups, {"closedform": text})

    def dataset(self, results: list[Any], lead: tuple[str, ...], coordinates: dict[str, Any]) -> xarray.Dataset:
        """One side as labelled arrays; `results` are stacked along `seed` if that leads, else there is one."""
        import xarray

        variables = {}
        for name, field in self.found.fields.items():
            parts = [getattr(result, name) for result in results]
            if parts[0] is not None:
                variables[name] = ((*lead, *field.axes), np.stack(parts) if lead[:1] == ("seed",) else np.asarray(parts[0]))
        sizes = {axis: size for axes, array in variables.values() for axis, size in zip(axes, array.shape, strict=True)}
        indices = {axis: np.arange(size) for axis, size in sizes.items() if axis not in coordinates}
        return xarray.Dataset(variables, {**coordinates, **indices})


def assemble(cells: list[Cell], trees: list[xarray.DataTree]) -> xarray.DataTree:
    """One result of all cells; the swept fields are axes, and axes of unequal length are padded with NaN."""
    if not cells[0].at:
        return trees[0]
    grid = {axis: list(dict.fromkeys(cell.at[axis] for cell in cells)) for axis in cells[0].at}
    points = [tuple(grid[axis].index(value) for axis, value in cell.at.items()) for cell in cells]
    groups = {name: _stack(grid, points, [store.group(tree, name) for tree in trees]) for name in trees[0].children}
    return _tree(groups, trees[0].attrs)


def _stack(grid: dict[str, list], points: list[tuple[int, ...]], parts: list[xarray.Dataset]) -> xarray.Dataset:
    """The cells' datasets in one array a variable, with the grid's axes leading."""
    import xarray

    index = {axis: np.unique(np.concatenate([part[axis].values for part in parts])) for axis in parts[0].dims}
    shape = tuple(len(values) for values in grid.values())
    variables = {}
    for name, first in parts[0].data_vars.items():
        sizes = tuple(len(index[axis]) for axis in first.dims)
        whole = np.full((*shape, *sizes), False if first.dtype == bool else np.nan, first.dtype)
        for point, part in zip(points, parts, strict=True):
            places = [np.searchsorted(index[axis], part[axis].values) for axis in first.dims]
            whole[(*point, *np.ix_(*places))] = part[name].values
        variables[name] = ((*grid, *first.dims), whole)
    return xarray.Dataset(variables, {**grid, **index})


def _tree(groups: dict[str, xarray.Dataset], attributes: Mapping[Any, Any]) -> xarray.DataTree:
    import xarray

    tree = xarray.DataTree.from_dict(groups)
    tree.attrs.update(attributes)
    return tree


def _select(tree: xarray.DataTree, seeds: list[int]) -> xarray.DataTree:
    return tree.map_over_datasets(lambda group: group.sel(seed=seeds) if "seed" in group.dims else group)
