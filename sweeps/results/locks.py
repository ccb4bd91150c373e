"""Locks: one process at a time works on a part.

A lock is one that the operating system gives back when its holder ends, however it ends (flock, which Linux passes on to
NFS): nothing has to be cleaned after a crash, and no clock is read. Claims save work and are not what keeps results whole:
files are immutable and complete, so where a file system has no locks two processes compute the same numbers twice and
nothing else happens.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from ..errors import UsageError

try:
    import fcntl
except ImportError:  # Windows: no locks
    fcntl = None

_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}


class Lock:
    """A held lock; `release` or the end of the process gives it back. Not `exclusive` where the file system has no locks.

    Its text says who holds it, since `note`. An orderly end empties it, so what stands in a free lock is of a holder that died.
    """

    def __init__(self, path: Path, descriptor: int, exclusive: bool):
        self._path, self._descriptor, self.exclusive = path, descriptor, exclusive
        self.left = _text(descriptor) if exclusive else {}  # what a holder that died has said of itself; {} if none did
        self._noted = False

    def note(self, about: dict[str, Any]) -> None:
        """Tell others who holds it, and what for."""
        text = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), **about}).encode()
        self._noted = True
        with contextlib.suppress(OSError):  # a full disk: then nobody is told
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)

    def release(self, done: bool) -> None:
        """Give it back; with `done` nobody needs the file any more."""
        with contextlib.suppress(OSError):
            if done:
                self._path.unlink()
            elif self._noted:
                os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def take(path: Path) -> Lock | None:
    """Take the lock, or None where another process holds it. Raises `UsageError` where the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); finished results are kept") from error
    for attempt in range(3):  # somebody may just be looking (`holder`), for a moment
        held = _lock(descriptor)
        if held is not False:
            break
        time.sleep(0.02 * attempt)
    else:
        os.close(descriptor)
        return None
    return Lock(path, descriptor, exclusive=held is True)


def _text(descriptor: int) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        said = json.loads(os.pread(descriptor, 1 << 24, 0))
        return said if isinstance(said, dict) else {}
    return {}


def holder(path: Path) -> dict[str, Any] | None:
    """What the process that holds a lock has written of itself ({} if nothing yet); None if no process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        if _lock(descriptor) is not False:
            return None
        return _text(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether the lock could be had; None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True
