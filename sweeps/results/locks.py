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
    """A held lock; `release` or the end of the process gives it back. Not `exclusive` where the file system has no locks."""

    def __init__(self, path: Path, descriptor: int, exclusive: bool):
        self._path, self._descriptor, self.exclusive = path, descriptor, exclusive

    def release(self, done: bool) -> None:
        """Give it back; with `done` nobody needs the file any more."""
        if done:
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(self._descriptor)


def take(path: Path, about: dict[str, Any]) -> Lock | None:
    """Take the lock, or None where another process holds it. `about` is what `holder` tells others.

    Raises `UsageError` where the folder cannot be written.
    """
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
    text = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), **about}).encode()
    with contextlib.suppress(OSError):  # a full disk: then nobody is told who holds it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)
    return Lock(path, descriptor, exclusive=held is True)


def holder(path: Path) -> dict[str, Any] | None:
    """What the process that holds a lock has written of itself ({} if nothing yet); None if no process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        if _lock(descriptor) is not False:
            return None
        return json.loads(os.pread(descriptor, 1 << 24, 0) or b"{}")
    except ValueError:
        return {}
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
