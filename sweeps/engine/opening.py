"""Opening a part: what is on disk of its runs, and what is left to do of them.

Finished runs, trained states, checkpoints and failures are taken up, whoever has left them; the rest waits in the queue.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..results import locks, states, store
from ..results.failures import failed_under, read_failures
from . import checkpoints
from .batches import Item, Saved
from .part import OpenPart

if TYPE_CHECKING:
    from .queue import Queue

_DEATHS = 2  # processes that died at a part before its cells run one at a time


def take_up(queue: Queue, opened: OpenPart) -> list[Item] | None:
    """Read what is on disk of a part; the rest waits for its beginning, but for the items, which go on from there.

    None for a part at which processes have died, while others are at work here: it is left for the end.
    """
    _take_stored(queue, opened)
    _inherit(queue, opened)
    saved, messages = checkpoints.find(opened.checkpoints, tidy=opened.lock.exclusive)
    if not _look_for_deaths(queue, opened, sum(one.begin * len(one.runs) for one in saved)):
        return None
    for message in messages:
        queue.say(message)
    for name, (digest, failure) in read_failures(opened.failed).items():
        if name in opened.names:  # another process has met it in the meantime
            cell = opened.planned.cells[opened.names.index(name)]
            if digest == failed_under(queue.plan.versions[cell]):
                queue.failures.setdefault(cell, failure)
    wanted = np.asarray([queue.wanted[cell] and cell not in queue.failures for cell in opened.planned.cells])[:, None]
    simulated, predicted, experiment = opened.simulated.done, opened.predicted.done, opened.group.experiment
    items, left = [], wanted & ~(simulated & predicted if experiment.conditional else simulated)
    if not experiment.conditional and (lacking := (wanted & ~predicted).any(axis=1)).any():
        items.append(Item(opened, np.flatnonzero(lacking), "cells"))
    if not experiment.training and (again := left & simulated).any():  # of these the predictions alone are missing
        items.append(Item(opened, np.flatnonzero(again), "predict"))
        left &= ~again
    opened.waiting[:] = left
    items += _trained(queue, opened)
    items += _begun(opened, saved)
    return items


def _look_for_deaths(queue: Queue, opened: OpenPart, begun: int) -> bool:
    """Whether a part can be worked on now, after what the process that held it before has left.

    A process that died counts if it got nowhere: no run was finished and no checkpoint went on. After two of them the
    cells run one at a time, each named in the lock first, and nothing beside them; the one that a third process died at
    has failed.
    """
    left, reached = opened.lock.left, [int(opened.simulated.done.sum()), int(opened.predicted.done.sum()), begun]
    opened.reached = reached
    opened.deaths = int(left.get("deaths", 0)) + 1 if left and left.get("reached") == reached else 0
    if opened.deaths >= _DEATHS:
        if not queue.alone:
            return False
        cell = left.get("alone")
        if cell in opened.names:
            row = opened.names.index(cell)
            queue.fail(opened, row, RuntimeError(f"{opened.deaths} processes died at this cell, the last at it alone"))
            opened.deaths = _DEATHS
    opened.note()
    return True


def _take_stored(queue: Queue, opened: OpenPart) -> None:
    cells, seeds = set(opened.names), set(opened.planned.seeds)
    files = {file.path for name in opened.names for file in queue.files[name] if opened.kept[file.kind].digest == file.digest}
    for kept in opened.kept.values():
        if opened.lock.exclusive:
            store.remove_cut_off(kept.complete.parent, kept.complete.stem)
        files |= {path for path in (kept.complete, kept.partial) if path.exists()}
    for path in sorted(files):
        block, message = store.read(path)
        if message:
            queue.say(message)
        if block is not None:
            opened.take_over(block)
            kept = opened.kept[block.kind]
            if path != kept.complete and cells.issuperset(block.cells) and seeds.issuperset(block.seeds):
                kept.supersedes.append(path)


def _trained(queue: Queue, opened: OpenPart) -> Iterator[Item]:
    """To measure alone the runs whose trained states are stored, whatever was measured then."""
    group = opened.group
    for row, name in enumerate(opened.trainings):
        column_of = {seed: column for column, seed in enumerate(opened.planned.seeds) if opened.waiting[row, column]}
        for path, seeds, rows, _ in states.find(queue.plan.home, name, column_of, queue.say) if column_of else ():
            tree, message = store.read_tree(path)
            if message:
                queue.say(message)
            if tree is not None:
                saved = states.Trained(path, seeds, group.end, 0 if group.steps is None else len(group.steps))
                yield _going_on(opened, [(row, column_of[seeds[one]]) for one in rows], saved, rows)


def _begun(opened: OpenPart, found: list[checkpoints.Saved]) -> Iterator[Item]:
    """To go on with the runs that a checkpoint holds, from there."""
    cells, columns = ({label: at for at, label in enumerate(labels)} for labels in (opened.names, opened.planned.seeds))
    for saved in found:
        places = [(cells.get(cell), columns.get(seed)) for cell, seed in saved.runs]
        rows = [row for row, place in enumerate(places) if None not in place and opened.waiting[place]]
        if rows and saved.digest == opened.simulated.digest:
            yield _going_on(opened, [places[row] for row in rows], saved, rows)


def _going_on(opened: OpenPart, runs: list[Any], saved: Saved, rows: list[int]) -> Item:
    """These runs, (row, column) of the part, from the rows of what is saved of them; they do not wait any more."""
    places = np.asarray([row * opened.shape[1] + column for row, column in runs])
    opened.waiting.reshape(-1)[places] = False
    return Item(opened, places, "simulate", saved, np.asarray(rows))


def _inherit(queue: Queue, opened: OpenPart) -> None:
    """Take over checkpoints of this part's runs from parts with other cuts of the seeds, unless somebody works on those."""
    part = opened.planned
    runs = {(queue.plan.cells[cell].name, seed) for cell in part.cells for seed in part.seeds}
    own = opened.checkpoints
    for other in own.parent.glob(f"{part.name.partition('-')[0]}-*") if len(part.cells) == 1 else ():
        held = locks.take(queue.plan.home / "locks" / other.name) if other != own else None
        if held is None:
            continue
        for one in checkpoints.find(other, tidy=held.exclusive)[0] if held.exclusive else ():
            if one.digest == opened.simulated.digest and runs.issuperset(one.runs):
                own.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(OSError):
                    one.path.rename(own / one.path.name)
        with contextlib.suppress(OSError):
            other.rmdir()  # if it is empty now
        held.release(done=not other.exists())
