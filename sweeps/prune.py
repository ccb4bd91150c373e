"""What a results folder holds in vain: stale files, which the code as it is now would not write, and superseded ones.

Nothing is removed where a process is at work (it may be one that was started before the code was changed), and nothing that the
code as it is now would read. Of one's own code that is not asked for by its file nobody knows whether it is still the same.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .contract import config as config_
from .contract.experiment import Experiment, find, names
from .contract.request import Cell, Plan, Version, cell_name, cells_asked
from .errors import UsageError
from .results import locks, sealed, store
from .results.failures import read_failures
from .results.identities import identified
from .results.notes import versions_asked

_ASIDE = re.compile(r"\.(damaged|schema\d+)(-\d+)?")  # the end of a name under which store.py and checkpoints.py keep a file
_STALE = "stale: earlier version"  # of the code
_ELSEWHERE = "superseded: in another file"


class Prunable(NamedTuple):
    """A file, or the folder of a checkpoint, that nobody needs."""

    path: Path
    size: int  # bytes
    why: str


class Found(NamedTuple):
    """What can be removed from a results folder, and what was left out, in words."""

    items: list[Prunable]
    left: list[str]


class _Kept(NamedTuple):
    """A file of runs."""

    path: Path
    header: store.Header
    said: dict[str, Any]  # its provenance


def prunable(results: Path, experiment: str | None = None, own: Experiment | None = None) -> Found:
    """What is stale or superseded in a results folder, or of one experiment or paper; `own` is the user's code of that name."""
    items, left = [], []
    for home, name in _homes(results, experiment):
        if at_work := locks.at_work(home / "locks"):
            left.append(f"{name}: left alone, for {' and '.join(at_work)} is at work")
            continue
        code = own if own is not None and own.name == name else find(name) if name in names() else None
        if code is None:
            left.append(f"{name}: not checked whether it is stale; name its code: closedform prune FILE.py:FUNCTION")
        items += _Home(results, home, name, code).items()
    return Found(items, left)


def remove(found: Found) -> tuple[list[Prunable], list[str]]:
    """Remove what was found; returns what has gone, and in words what could not be removed."""
    gone, kept = [], []
    for item in found.items:
        try:
            shutil.rmtree(item.path) if item.path.is_dir() else item.path.unlink()
            gone.append(item)
        except FileNotFoundError:
            continue
        except OSError as error:
            kept.append(f"{item.path}: cannot be removed ({error.strerror})")
    return gone, kept


def _homes(results: Path, experiment: str | None) -> list[tuple[Path, str]]:
    """The folders in which the engine keeps the results of an experiment, with its name."""
    ours = {"locks", "programs", "sweeps", "runs", "checkpoints", "predictions", "states", "failed", "blocks"}
    folders = {path.parent for path in results.rglob("*") if path.is_dir() and path.name in ours}
    found = ((home, home.relative_to(results).as_posix()) for home in sorted(folders))
    return [
        (home, name)
        for home, name in found
        if home.name not in ours and (experiment is None or name == experiment or name.startswith(f"{experiment}/"))
    ]


class _Home:
    """The results of one experiment beside what its code computes now; without code nothing is called stale."""

    def __init__(self, results: Path, home: Path, name: str, code: Experiment | None):
        self.results, self.home, self.name, self.code = results, home, name, code
        self.stale: set[str] = set()  # digests
        self.known: dict[str, Version] = {}  # by config: digests of simulation and prediction, as the code is now
        self.trainings: dict[str, str] = {}

    def items(self) -> Iterator[Prunable]:
        files, states, damaged = self._read()
        requests = list(self._requests())
        self._identify([kept.said for kept in files] + [said for _, said in states] + [said for _, said, _ in requests])
        found = [*damaged, *self._files(files), *self._states(states), *self._wholes(requests)]
        found += [*self._checkpoints(), *self._failures(), *self._remains()]
        for item in list(found):  # the figures of what goes
            pictures = (item.path.with_suffix(suffix) for suffix in (".png", ".pdf"))
            found += [self._item(path, item.why) for path in pictures if item.path.suffix == ".nc" and path.exists()]
        yield from {item.path: item for item in found}.values()

    def _read(self) -> tuple[list[_Kept], list[tuple[Path, dict[str, Any]]], list[Prunable]]:
        """The files of runs, those of trained states, and those that cannot be read back."""
        files, states, damaged = [], [], []
        for path in store.files_below(self.home, "[0-9a-f][0-9a-f]/*.nc"):
            try:
                label, tree = sealed.read_label(path), store.read_tree(path, aside=False)[0]
            except FileNotFoundError:
                continue
            except (OSError, sealed.Damaged):
                label, tree = {}, None
            if tree is None:
                damaged.append(self._item(path, "cannot be read back"))
            elif "kind" in label and (header := store.header(path, aside=False)[0]) is not None:
                files.append(_Kept(path, header, store.provenance(tree)))
            else:
                states.append((path, {**store.provenance(tree), "seeds": label.get("seeds", [])}))
        return files, states, damaged

    def _requests(self) -> Iterator[tuple[Path, dict[str, Any], Version]]:
        """What was asked, and the digests of its first cell then."""
        for path in sorted([*(self.home / "sweeps").glob("*.json"), *(self.home / "runs").glob("*.json")]):
            try:
                asked = sealed.read_json(path)
                first = cells_asked(asked)[0].at
                said = {"config": {**asked["config"], **first}, "root_seed": asked["root_seed"]}
                yield path, said, versions_asked(asked, 1)[0]
            except (OSError, sealed.Damaged, KeyError, TypeError, IndexError):  # `status` tells of it
                continue

    def _identify(self, told: Iterable[dict[str, Any]]) -> None:
        """By what the code as it is now names what was computed at these configs; one trace serves all that share programs."""
        if self.code is None:
            return
        by_seed: dict[int, dict[str, Any]] = {}
        for said in told:
            try:
                config = config_.build(self.code.Config, said["config"])
            except (UsageError, KeyError, TypeError, ValueError):  # no config any more
                continue
            by_seed.setdefault(said["root_seed"], {})[_key(said)] = config
        for root_seed, configs in by_seed.items():
            named = [cell_name(self.name, root_seed, config_.as_dict(config)) for config in configs.values()]
            cells = [Cell({}, config, name) for config, name in zip(configs.values(), named, strict=True)]
            plan = identified(Plan(self.code, cells, [0], root_seed, {}, False, self.results.absolute()), keep=False)
            self.known |= {key: version for key, version in zip(configs, plan.versions, strict=True) if version.simulation}
            keys = list(configs)
            for group in plan.groups if self.code.training else ():
                for cell, config in zip(group.cells, group.configs, strict=True):
                    self.trainings[keys[cell]] = group.trained_name(root_seed, config)

    def _is_stale(self, said: dict[str, Any], place: int, digest: str) -> bool:
        """Whether the code would name it otherwise now: place 0 is a simulation, 1 a prediction."""
        return self.code is not None and self.known.get(_key(said), Version())[place] != digest

    def _files(self, files: Sequence[_Kept]) -> Iterator[Prunable]:
        current: list[_Kept] = []
        for kept in files:
            if self._is_stale(kept.said, int(kept.header.kind == "prediction"), kept.header.digest):
                self.stale.add(kept.header.digest)
                yield self._item(kept.path, self._reason(kept.said))
            else:
                current.append(kept)
        covered: dict[tuple[str, str], set[tuple[str, int]]] = {}  # runs that larger files of the same digest hold
        for kept in sorted(current, key=lambda kept: (-len(_runs(kept.header)), ".partial." in kept.path.name, kept.path.name)):
            runs, others = _runs(kept.header), covered.setdefault((kept.header.kind, kept.header.digest), set())
            if runs <= others:
                yield self._item(kept.path, _ELSEWHERE)
            others |= runs

    def _reason(self, said: dict[str, Any]) -> str:
        import jax

        if self.code is not None and said["sources"] == self.code.sources() and said["versions"]["jax"] != jax.__version__:
            return f"stale: under jax {said['versions']['jax']}"
        return _STALE

    def _states(self, states: Sequence[tuple[Path, dict[str, Any]]]) -> Iterator[Prunable]:
        covered: dict[str, set[int]] = {}
        for path, said in sorted(states, key=lambda one: -len(one[1]["seeds"])):
            if self.code is not None and self.trainings.get(_key(said)) != said.get("training"):
                yield self._item(path, self._reason(said))
            elif set(said["seeds"]) <= (others := covered.setdefault(said.get("training", ""), set())):
                yield self._item(path, _ELSEWHERE)
            else:
                others |= set(said["seeds"])

    def _wholes(self, requests: Sequence[tuple[Path, dict[str, Any], Version]]) -> Iterator[Prunable]:
        """Requests of an earlier version, which `status` would show as waiting, with the whole results beside them."""
        for path, said, digests in requests:
            if any(self._is_stale(said, place, digest) for place, digest in enumerate(digests)):
                self.stale.add(digests[0])
                yield self._item(path, _STALE)
                if (whole := path.with_suffix(".nc")).exists():
                    yield self._item(whole, _STALE)

    def _checkpoints(self) -> Iterator[Prunable]:
        for folder in sorted((self.home / "checkpoints").glob("*")):
            final = self.home / ("" if "-" in folder.name else "blocks") / folder.name[:2] / f"{folder.name}.nc"
            if final.exists():
                yield self._item(folder, "superseded: its runs are finished")
                continue
            for path in sorted(folder.glob("*")):
                if _ASIDE.fullmatch(path.suffix):
                    yield self._item(path, "set aside: damaged")
                    continue
                try:
                    digest = sealed.read_json(path / "about.json")["digest"]
                except (OSError, sealed.Damaged, KeyError):
                    continue
                if digest in self.stale:
                    yield self._item(path, _STALE)

    def _failures(self) -> Iterator[Prunable]:
        for path in sorted((self.home / "failed").glob("*.json")):
            digests = [digest.partition(" ")[0] for digest, _ in read_failures(path).values()]
            if digests and self.stale.issuperset(digests):
                yield self._item(path, _STALE)

    def _remains(self) -> Iterator[Prunable]:
        for path in store.files_below(self.home, "*"):
            if _ASIDE.fullmatch(path.suffix) and not {"checkpoints", "jobs"} & set(path.relative_to(self.home).parts):
                yield self._item(path, "set aside: " + ("damaged" if "damaged" in path.suffix else "of an earlier version"))
            elif path.name.startswith(".") and path.suffix == ".tmp" and locks.abandoned(path):
                yield self._item(path, "cut off while it was written")

    def _item(self, path: Path, why: str) -> Prunable:
        try:
            files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
            return Prunable(path, sum(file.stat().st_size for file in files), why)
        except FileNotFoundError:
            return Prunable(path, 0, why)


def _key(said: dict[str, Any]) -> str:
    return config_.hashed([said["root_seed"], said["config"]])


def _runs(header: store.Header) -> set[tuple[str, int]]:
    """The runs of a file as (cell, seed); of predictions that hold for all seeds (cell, -1)."""
    if not header.seeds:
        return {(cell, -1) for cell in header.cells}
    return {(header.cells[row], header.seeds[column]) for row, column in zip(*np.nonzero(header.stored), strict=True)}
