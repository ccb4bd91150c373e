"""What a command owes to whoever called it: an exit code that tells, UTF-8, and one line for whatever goes wrong."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

AGREES, DISAGREES, REFUSED, FAILED, STALE, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 4, 70, 130
_GRAVEST_FIRST = (INTERRUPTED, INTERNAL, REFUSED, FAILED, DISAGREES, STALE, AGREES)


class HelpShown(Exception):
    """What was asked for was help, and it has been shown."""


def gravest(codes: Iterable[int]) -> int:
    """The exit code that counts where several apply.

    >>> gravest([AGREES, STALE, DISAGREES]), gravest([])
    (1, 0)
    """
    return min(codes, key=_GRAVEST_FIRST.index, default=AGREES)


def guarded(command: Callable[[], int]) -> int:
    """The exit code of a command, whatever it raises; what it raises is told in one line on standard error."""
    try:
        with _streams() as output:
            try:
                code = command()
            except HelpShown:
                code = AGREES
            except BaseException as error:
                code, line = _told(error)
                errors = sys.modules.get(f"{__package__}.sweeps.errors")
                print(f"closedform: {errors.plain(line) if errors else line}", file=sys.stderr)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            if output.error is not None and output.error.errno != errno.EPIPE:  # who closes a pipe has read enough
                print(f"closedform: standard output: cannot be written ({output.error.strerror})", file=sys.stderr)
                code = gravest([code, REFUSED])
        return code
    except KeyboardInterrupt:
        return INTERRUPTED


@contextlib.contextmanager
def leaving_quietly() -> Iterator[None]:
    """Ctrl-C while modules are imported: nothing has begun, and there is nothing to tell."""
    try:
        yield
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)


def _told(error: BaseException) -> tuple[int, str]:
    """The exit code of an error, and the line that says it."""
    errors = sys.modules.get(f"{__package__}.sweeps.errors")  # not imported: then it is none of them
    ours = isinstance(error, errors.UsageError) if errors else False
    if _interrupted(error):
        why = f" ({error})" if ours else ""  # that it could not be stored, for one
        return INTERRUPTED, f"interrupted; finished seeds are kept, the same command goes on from there{why}"
    if ours:
        return FAILED if isinstance(error, errors.EveryCellFailed) else REFUSED, str(error)  # type: ignore[union-attr]
    said = first_line(error)
    return INTERNAL, f"internal error: {type(error).__name__}{said and ': '}{said}; {kept(error)}"


def first_line(error: BaseException) -> str:
    """The message of an error in one line: its first, and the next where the first ends with a colon and only announces it.

    Places in the source, which jax nests in some messages, are left to the traceback.

    >>> first_line(ValueError("Invalid type:\\n  tensor<-1xf32>\\nand more"))
    'Invalid type: tensor<-1xf32>'
    """
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    return re.sub(r'"jit.*callsite\(.*\): ', "", said)


def _interrupted(error: BaseException | None) -> bool:
    """Whether an interrupt is behind an error: storing what was finished may itself have failed."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def kept(error: BaseException) -> str:
    """Write the traceback of an error to a file in the user's cache folder, and say where it is."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    text = " ".join(["closedform", *sys.argv[1:]]) + "\n\n" + "".join(traceback.format_exception(error))
    name = f"{datetime.datetime.now():%Y-%m-%d-%H%M%S}-{os.getpid()}.txt"
    for folder in (Path(cache) / "closedform" / "errors", Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
            return f"its traceback is kept in {folder / name}"
    return "its traceback could not be kept"


@contextlib.contextmanager
def drawing_to_files() -> Iterator[None]:
    """Commands draw to files alone, whatever backend of matplotlib the environment wants, be there one or not."""
    before = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "agg"
    try:
        yield
    finally:
        del os.environ["MPLBACKEND"]
        os.environ.update({} if before is None else {"MPLBACKEND": before})


class _Guarded:
    """A stream that remembers why it could not be written, and takes the rest in silence."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        self._try(self._stream.write, text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self._try(self._stream.writelines, lines)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, method: Callable, *arguments: Any) -> None:
        if self.error is not None:
            return
        try:
            method(*arguments)
        except OSError as error:
            self.error = error
            with contextlib.suppress(OSError, ValueError):  # what is buffered still has to go somewhere when Python ends
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def utf8(*streams: Any) -> None:
    """Let streams write UTF-8, whatever the locale; what is no character of it is written as its number."""
    for stream in streams:
        with contextlib.suppress(AttributeError, ValueError):  # a stream of a notebook's or a test's own
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def _streams() -> Iterator[_Guarded]:
    """Standard output and error in UTF-8, whatever the locale, and guarded; yields the output."""
    guarded = []
    for stream in (sys.stdout, sys.stderr):
        if stream is None:  # closed by whoever started the process
            stream = open(os.devnull, "w")  # noqa: SIM115
        utf8(stream)
        guarded.append(_Guarded(stream))
    output, error = guarded
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):  # type: ignore[type-var]
        yield output
