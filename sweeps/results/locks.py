"""Locks: one process at a time works on a part.

A lock is one that the operating system gives back when its holder ends, however it ends (flock, which Linux passes on to
NFS): nothing has to be cleaned after a crash, and no clock is read. Locks save work and are not what keeps results whole:
files are immutable and complete, so where a file system has no locks two processes compute the same numbers twice and
nothing else happens.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import UsageError
from . import sealed

try:
    import fcntl
except ImportError:  # Windows: no locks
    fcntl = None

_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}
_TRIES = 4


class Lock:
    """A held lock; `release` or the end of the process gives it back. Not `exclusive` where the file system has no locks.

    Its text says who holds it, since `note`. An orderly end empties it, so what stands in a free lock is of a holder that died.
    """

    def __init__(self, path: Path, descriptor: int):
        self.path, self.descriptor, self.exclusive = path, descriptor, False
        self.left: dict[str, Any] = {}  # what a holder that died has said of itself; {} if none did
        self._noted = False
        _held.add(self)

    def note(self, about: dict[str, Any]) -> None:
        """Tell others who holds it, and what for."""
        text = sealed.to_json({"host": socket.gethostname(), "pid": os.getpid(), **about})
        self._noted = True
        with contextlib.suppress(OSError):  # a full disk: then nobody is told
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, text, 0)

    def release(self, done: bool) -> None:
        """Give it back; with `done` nobody needs the file any more."""
        if self.descriptor >= 0:
            with contextlib.suppress(OSError):
                if done:
                    self.path.unlink()
                elif self._noted:
                    os.ftruncate(self.descriptor, 0)
        self.close()

    def close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


# A child that is forked shares the lock of its parent, and would keep it when the parent has given it back or died: it closes
# its copy. No thread forks between the opening of a file and the note of it.
_held: weakref.WeakSet[Lock] = weakref.WeakSet()
_forking = threading.RLock()


def _forget() -> None:
    for lock in list(_held):
        lock.close()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forking.acquire, after_in_parent=_forking.release, after_in_child=_forget)


def take(path: Path) -> Lock | None:
    """Take the lock, or None where another process holds it.

    Raises `UsageError` where the folder cannot be written or the system refuses to lock.
    """
    for attempt in range(_TRIES):  # somebody may just be looking (`holder`), for a moment, or remove the file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = _opened(path, os.O_CREAT)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror}); finished results are kept") from error
        try:
            had = _lock(lock.descriptor)
            if had is not False and _same(lock.descriptor, path):
                break
        except OSError as error:
            if error.errno != errno.ESTALE or attempt == _TRIES - 1:
                lock.close()
                raise UsageError(f"{path}: cannot be locked ({error.strerror}); finished results are kept") from error
        lock.close()
        time.sleep(0.01 * attempt)
    else:
        return None
    lock.exclusive = had is True
    with contextlib.suppress(OSError, sealed.Damaged):
        lock.left = sealed.from_json(os.pread(lock.descriptor, 1 << 24, 0)) if lock.exclusive else {}
    return lock


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Keep a file from being taken for `abandoned` while it is written and renamed."""
    if fcntl is None:
        yield
        return
    with contextlib.closing(_opened(path, os.O_CREAT)) as lock:
        with contextlib.suppress(OSError):
            _lock(lock.descriptor)
        yield


def abandoned(path: Path) -> bool:
    """Whether nobody holds a file any more: whoever was writing it has died."""
    with contextlib.suppress(OSError), contextlib.closing(_opened(path, 0)) as lock:
        return _lock(lock.descriptor) is True
    return False


def holder(path: Path) -> dict[str, Any] | None:
    """What the process that holds a lock has written of itself ({} if nothing yet); None if no process holds the lock."""
    try:
        lock = _opened(path, 0)
    except OSError:
        return None
    try:
        if _lock(lock.descriptor) is not False:
            return None
        return sealed.from_json(os.pread(lock.descriptor, 1 << 24, 0))
    except OSError:
        return None
    except sealed.Damaged:
        return {}
    finally:
        lock.close()


def at_work(folder: Path) -> list[str]:
    """Who holds locks of a folder: "host (process 123)"; where a file system has none, whoever has not taken the name back."""
    found = []
    for path in sorted(folder.glob("*")):
        with contextlib.suppress(OSError), contextlib.closing(_opened(path, 0)) as lock:
            free, text = _lock(lock.descriptor), os.pread(lock.descriptor, 1 << 24, 0)
            if free is False or (free is None and text):
                try:
                    said = sealed.from_json(text)
                except sealed.Damaged:  # just taken
                    said = {}
                found.append(f"{said['host']} (process {said['pid']})" if said else "another process")
    return list(dict.fromkeys(found))


def _opened(path: Path, create: int) -> Lock:
    with _forking:
        return Lock(path, os.open(path, os.O_RDWR | getattr(os, "O_NONBLOCK", 0) | create, 0o666))


def _same(descriptor: int, path: Path) -> bool:
    """Whether the file that was opened is still the one of that name: who held it before may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


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
