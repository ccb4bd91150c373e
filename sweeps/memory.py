"""How much memory is free where a program would run, and how much this process has taken."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

# While a part is stored there are its arrays, what is done of them, where they are finite, and the file; while a result is
# assembled there are its files, the whole, and a file as it is read. Measured: 2.7 and 3.0 times the bytes of the result.
_COPIES = 3.5
_SMALL = 16 << 20  # bytes of a result that are lost in the noise of the process

_CGROUP, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def free_bytes(device: Any = None) -> int:
    """Free memory of an accelerator, or of this machine for a CPU device or none; what a container or a job may use counts."""
    if device is not None and device.platform != "cpu":
        said = device.memory_stats() or {}
        if "bytes_limit" in said:
            return int(said["bytes_limit"] - said.get("bytes_in_use", 0))
    import psutil

    return min(int(psutil.virtual_memory().available), *_limits())


def _limits() -> list[int]:
    """What the control groups of this process leave (versions 2 and 1); Slurm and containers set them."""
    found = [1 << 62]
    with contextlib.suppress(OSError, ValueError):
        for line in _OWN.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "memory":
                base, limit, used = _CGROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            elif not controllers:
                base, limit, used = _CGROUP, "memory.max", "memory.current"
            else:
                continue
            folder = base / path.strip("/")
            for group in (folder, *folder.parents):  # a limit of any group above counts as well
                if base not in (group, *group.parents):
                    break
                with contextlib.suppress(OSError, ValueError):  # no file, or "max"
                    found.append(int((group / limit).read_text()) - int((group / used).read_text()))
    return found


def to_handle(size: int) -> int:
    """The memory that it takes to store a part whose results have `size` bytes, or to assemble a whole result of that size."""
    return int(_COPIES * size) if size > _SMALL else 0


def peak_bytes() -> int:
    """The most memory that this process has held so far, in bytes; an accelerator's is not in it."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def text(size: float) -> str:
    """A number of bytes for people.

    >>> text(4_200_000_000), text(1500)
    ('4.2 GB', '1.5 kB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
