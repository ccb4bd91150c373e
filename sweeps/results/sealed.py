"""Files that are read back only if no byte of them has changed.

A result is HDF5 followed by two lines, which every reader of HDF5 passes over:

    {"schema": .., "cells": [..], .., "content": [bytes, sha256]}    its label: what it holds, in JSON
    <sha256 of the label> <bytes of the label>

The label is read and checked without the content, in a tenth of a millisecond. The content is compared with its checksum
before anything parses it: one changed bit can make HDF5 return other numbers, ask for terabytes, or never come back. What is
kept as JSON alone (requests, failures, checkpoints, locks) has its checksum inside.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LAST = re.compile(rb"\n([0-9a-f]{64}) (\d{12})\n")
_LAST_BYTES = 1 + 64 + 1 + 12 + 1


class Damaged(ValueError):
    """A file that cannot be trusted; the message says why, in a word or two."""


class Unsealed(Damaged):
    """A file that does not end as a sealed one."""


def seal(content: bytes | memoryview, about: dict[str, Any]) -> bytes:
    """What follows the content of a file: a label that says `about` it, and checksums of both."""
    label = json.dumps({**about, "content": [memoryview(content).nbytes, hashlib.sha256(content).hexdigest()]}).encode()
    return b"\n%b\n%b %012d\n" % (label, hashlib.sha256(label).hexdigest().encode(), len(label))


def read_label(path: Path) -> dict[str, Any]:
    """What the label of a file says. Raises `Damaged`, or `FileNotFoundError` for a file that has gone."""
    with opened(path) as file:
        return _label(file)


def read(path: Path) -> tuple[dict[str, Any], bytes]:
    """The label and the content of a file, every byte as it was written. Raises as `read_label` does."""
    with opened(path) as file:
        label = _label(file)
        file.seek(0)
        content = file.read(label["content"][0])
    if hashlib.sha256(content).hexdigest() != label["content"][1]:
        raise Damaged("checksum")
    return label, content


def _label(file: io.BufferedReader) -> dict[str, Any]:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LAST_BYTES))
    last = _LAST.fullmatch(file.read())
    start = size - _LAST_BYTES - int(last[2]) if last else 0
    if last is None or start < 1:
        raise Unsealed("checksum")
    file.seek(start - 1)
    text = file.read(1 + int(last[2]))
    if text[:1] != b"\n" or hashlib.sha256(text[1:]).hexdigest().encode() != last[1]:
        raise Damaged("checksum")
    label = parsed(text)
    if label["content"][0] != start - 1:
        raise Damaged("cut off, or joined to something")
    return label


def to_json(said: dict[str, Any]) -> bytes:
    """JSON that has its checksum inside, under `sha256`."""
    return json.dumps({**said, "sha256": _checksum(said)}).encode()


def from_json(text: bytes) -> dict[str, Any]:
    """What `to_json` was given. Raises `Damaged`.

    >>> from_json(to_json({"seeds": [0, 1]}))
    {'seeds': [0, 1]}
    """
    said = parsed(text)
    if "sha256" not in said:
        raise Unsealed("checksum")
    if said.pop("sha256") != _checksum(said):
        raise Damaged("checksum")
    return said


def read_json(path: Path) -> dict[str, Any]:
    """What a file of `to_json` says. Raises `Damaged`, or `FileNotFoundError` for a file that has gone."""
    with opened(path) as file:
        return from_json(file.read())


def parsed(text: bytes) -> dict[str, Any]:
    """The JSON object that a text from anywhere is. Raises `Damaged`."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or brackets in brackets in brackets
        raise Damaged("no JSON") from error
    if not isinstance(said, dict):
        raise Damaged("no JSON object")
    return said


def _checksum(said: dict[str, Any]) -> str:
    plain = json.loads(json.dumps(said))  # as it comes back
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """A regular file to read from; raises `Damaged` for anything else (a pipe would be waited for).

    What a server has removed while we look (ESTALE) has gone, like what was removed before.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Damaged("no file")
        with open(descriptor, "rb") as file:
            yield file
    except OSError as error:
        if error.errno == errno.ESTALE:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
        if error.errno in (errno.ENXIO, errno.EISDIR):  # a socket; a folder, where the system opens none
            raise Damaged("no file") from error
        raise
