"""Opening a part: what is on disk of its runs, and what is left to do of them.

Finished runs, trained states, checkpoints and failures are taken up, whoever has left them; the rest waits in the queue.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

import numpy as np

from ..results import locks, states, store
from ..results.failures import digest_of, read_failures
from . import checkpoints
from .part import Item, OpenPart

if TYPE_CHECKING:
    from .queue import Queue

_DEATHS = 2  # processes that died at a part before its cells run one at a time


def take_up(queue: Queue, opened: OpenPart) -> bool:
    """Read what is on disk of a part: finished runs, checkpoints, failures; and queue the rest.

    False for one at which processes have died, while others are at work here: it is left for the end.
    """
    part = opened.part
    _take_stored(queue, opened)
    _inherit(queue, opened)
    saved, messages = checkpoints.find(queue.checkpoints_of(opened.part), tidy=opened.lock.exclusive)
    if not _look_for_deaths(queue, opened, sum(one.begin * len(one.runs) for one in saved)):
        return False
    for message in messages:
        queue.say(message)
    for name, (digest, failure) in read_failures(queue.failures_of(part)).items():
        if name in opened.names:  # another process has met it in the meantime
            cell = part.cells[opened.names.index(name)]
            if digest == digest_of(queue.plan, cell):
                queue.failures.setdefault(cell, failure)
    wanted = np.asarray([queue.wanted[cell] and cell not in queue.failures for cell in part.cells])
    done = opened.simulated & opened.predicted if opened.conditional else opened.simulated
    opened.waiting[:] = wanted[:, None] & ~done
    if not opened.conditional:
        opened.lacking[:] = wanted & ~opened.predicted.all(axis=1)
        if opened.lacking.any():
            queue.first.append(Item(opened, np.flatnonzero(opened.lacking), "cells"))
    queued = opened.waiting.reshape(-1).copy()
    again = np.flatnonzero(queued & opened.simulated.reshape(-1))  # of these the predictions alone are missing
    if again.size and not opened.group.experiment.training:
        queued[again] = False
        queue.first.append(Item(opened, again, "predict"))
        queue.progress.less(opened.group.length * len(again))
    _take_trained(queue, opened, queued)
    _take_checkpoints(queue, opened, queued, saved)
    if queued.any():
        queue.ready.append(Item(opened, np.flatnonzero(queued)))
    return True


def _look_for_deaths(queue: Queue, opened: OpenPart, begun: int) -> bool:
    """Whether a part can be worked on now, after what the process that held it before has left.

    A process that died counts if it got nowhere: no run was finished and no checkpoint went on. After two of them the
    cells run one at a time, each named in the lock first, and nothing beside them; the one that a third process died at
    has failed.
    """
    left, reached = opened.lock.left, [int(opened.simulated.sum()), int(opened.predicted.sum()), begun]
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
    cells, seeds = set(opened.names), set(opened.part.seeds)
    for path in (opened.path("simulation"), opened.path("prediction")) if opened.lock.exclusive else ():
        store.remove_cut_off(path.parent, path.stem)
    kinds: tuple[store.Kind, ...] = ("simulation", "prediction")
    mine = {kind: opened.digest(kind) for kind in kinds}
    files = {file.path for name in opened.names for file in queue.files[name] if mine[file.kind] == file.digest}
    own = [opened.path(kind, complete) for kind in kinds for complete in (True, False)]
    for path in sorted({*files, *(path for path in own if path.exists())}):
        block, message = store.read(path)
        if message:
            queue.say(message)
        if block is not None:
            opened.take_over(block)
            if path != opened.path(block.kind) and cells.issuperset(block.cells) and seeds.issuperset(block.seeds):
                opened.supersedes[block.kind].append(path)


def _take_trained(queue: Queue, opened: OpenPart, queued: np.ndarray) -> None:
    """Queue for measuring alone the runs whose trained states are stored, whatever was measured then."""
    group, width = opened.group, opened.shape[1]
    for row, name in enumerate(opened.trainings):
        place_of = {seed: row * width + column for column, seed in enumerate(opened.part.seeds)}
        wanted = [seed for seed, place in place_of.items() if queued[place]]
        for path, seeds, rows in states.find(queue.plan.home, name, wanted, queue.say) if wanted else ():
            tree, message = store.read_tree(path)
            if message:
                queue.say(message)
            if tree is not None:
                mine = np.asarray([place_of[seeds[one]] for one in rows])
                queued[mine] = False
                saved = states.Trained(path, seeds, group.end, 0 if group.steps is None else len(group.steps))
                queue.first.append(Item(opened, mine, "simulate", saved, rows))
                queue.progress.less(group.length * len(rows))


def _take_checkpoints(queue: Queue, opened: OpenPart, queued: np.ndarray, saved: list[checkpoints.Saved]) -> None:
    """Queue the runs that a checkpoint holds, to go on from there."""
    runs = itertools.product(opened.names, opened.part.seeds) if saved else ()
    place_of = {run: place for place, run in enumerate(runs)}
    for one in saved:
        rows = [row for row, run in enumerate(one.runs) if run in place_of and queued[place_of[run]]]
        if rows and one.digest == opened.digest("simulation"):
            mine = np.asarray([place_of[one.runs[row]] for row in rows])
            queued[mine] = False
            queue.first.append(Item(opened, mine, "simulate", one, rows))
            queue.progress.less(one.begin * len(rows))


def _inherit(queue: Queue, opened: OpenPart) -> None:
    """Take over checkpoints of this part's runs from parts with other cuts of the seeds, unless somebody works on those."""
    part = opened.part
    runs = {(queue.plan.cells[cell].name, seed) for cell in part.cells for seed in part.seeds}
    own = queue.checkpoints_of(part)
    for other in own.parent.glob(f"{part.name.partition('-')[0]}-*") if len(part.cells) == 1 else ():
        held = locks.take(queue.plan.home / "locks" / other.name) if other != own else None
        if held is None:
            continue
        for one in checkpoints.find(other, tidy=held.exclusive)[0] if held.exclusive else ():
            if one.digest == opened.digest("simulation") and runs.issuperset(one.runs):
                own.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(OSError):
                    one.path.rename(own / one.path.name)
        with contextlib.suppress(OSError):
            other.rmdir()  # if it is empty now
        held.release(done=not other.exists())
