"""What a process that died has left behind of parts that are complete: it was killed between storing a part and cleaning up."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..errors import UsageError
from ..results import locks, sealed, store
from . import checkpoints


def clean(home: Path, part: str) -> bool:
    """Remove what nobody needs of a part once its file is there, whole; whether it is. The lock of the part is held."""
    final = _final(home, part)
    store.remove_cut_off(final.parent, part)
    if whole := _is_whole(final):
        checkpoints.remove(home / "checkpoints" / part)
        final.with_suffix(".partial.nc").unlink(missing_ok=True)
    return whole


def _is_whole(path: Path) -> bool:
    try:
        sealed.read(path)
    except (OSError, sealed.Damaged):
        return False
    return True


def remove_leftovers(home: Path) -> None:
    """Clean up after the dead: the lock of a part stays where it is until everything else of the part has been removed."""
    with contextlib.suppress(UsageError, OSError):  # a folder that can only be read
        for path in sorted((home / "locks").glob("*")):
            if _final(home, path.name).exists() and (lock := locks.take(path)) is not None:
                lock.release(done=lock.exclusive and clean(home, path.name))
                for folder in (home / "sweeps", home / "runs", home / "failed", *(home / "states").glob("*")):
                    store.remove_cut_off(folder)
        for partial in store.files_below(home / "predictions", "*.partial.nc"):  # these have no locks of their own
            final = partial.with_name(partial.name.replace(".partial", ""))
            if final.exists() and _is_whole(final):
                partial.unlink(missing_ok=True)


def _final(home: Path, part: str) -> Path:
    return home / ("" if "-" in part else "blocks") / part[:2] / f"{part}.nc"
