"""What results are named by: digests of traced programs, noted so that what stands is read without tracing.

    <results>/<experiment>/programs/<key>.json

The key is a hash of the sources, the installed packages and the static config. A note holds the digests and the data files that
importing and tracing opened, with their contents: it counts only while these are the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..contract import sources
from ..contract.config import hashed
from ..contract.groups import Group, ended, gather
from ..contract.precision import precision
from ..contract.request import Plan, Version
from ..contract.tracing import Identity
from ..errors import UsageError
from . import sealed, store


def identified(plan: Plan, keep: bool = True) -> Plan:
    """The plan with its groups, and with what the results of each cell are named by; nameless code runs if nothing is kept.

    Of an experiment asked for by its name or file that is looked up where it is known; else it is traced. A cell whose code
    raises has failed, and the others go on. Raises `UsageError` for a broken contract.
    """
    plan = plan._replace(sources=plan.experiment.sources())
    with precision(False):  # steps and labels may be computed by JAX
        groups, broken = gather(plan.experiment, plan.cells, keep)
    found = [Version()] * len(plan.cells)
    kept = []
    for group in groups:
        try:
            group.identity = _identity(plan, group, keep)
        except UsageError:
            raise
        except (Exception, SystemExit) as error:
            broken.update(dict.fromkeys(group.cells, ended(error)))
            continue
        kept.append(group)
        for cell in group.cells:
            found[cell] = group.identity.version
    return plan._replace(groups=kept, versions=found, broken=broken)


def _identity(plan: Plan, group: Group, keep: bool) -> Identity:
    by_name = plan.experiment.asked_by_name
    known = _look_up(plan, group) if by_name else None
    if known is not None:
        return known
    with sources.watched():
        identity = group.traced().identity
    if by_name and keep:
        _note(plan, group, identity, sources.opened())
    return identity


def confirmed(plan: Plan, missing: Sequence[bool]) -> bool:
    """Trace twice what is going to run; False if a note was wrong, so that the plan has to be identified again.

    Raises `UsageError` for a program that is another one each time.
    """
    right = True
    for group in plan.groups:
        if any(missing[cell] for cell in group.cells) and group.confirmed().identity != group.identity:
            with contextlib.suppress(OSError):
                _path(plan, group).unlink()  # the note was wrong
            right = False
    return right


def _look_up(plan: Plan, group: Group) -> Identity | None:
    """What the group was traced to, by the same sources, data files and packages; None if that is not known."""
    with contextlib.suppress(OSError, sealed.Damaged, ValueError, KeyError, TypeError):
        said = sealed.read_json(_path(plan, group))
        if sources.contents(map(Path, said["files"])) == said["files"]:
            simulation, prediction, training, trained_by, seedless = said["identity"]
            return Identity(str(simulation), str(prediction), str(training), tuple(trained_by), bool(seedless))
    return None


def _note(plan: Plan, group: Group, identity: Identity, opened: Iterable[Path]) -> None:
    """Keep what a group was traced to; a folder that cannot be written is left as it is."""
    with contextlib.suppress(UsageError):
        said = {"identity": identity, "files": sources.contents(opened)}
        store.write_bytes(_path(plan, group), sealed.to_json(said))


def _path(plan: Plan, group: Group) -> Path:
    return plan.home / "programs" / f"{hashed([group.key(), plan.sources, sources.installed()])}.json"
