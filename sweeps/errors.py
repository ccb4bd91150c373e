"""The exception for a request that cannot be met, whose message is written for the user."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable

_SHOWN = 60  # names in a message


class UsageError(ValueError):
    """A request that cannot be met: one line that names what was given and what is allowed. The command line exits with 2."""


class EveryCellFailed(UsageError):
    """A sweep none of whose cells has a result; `count` of them raised."""

    def __init__(self, message: str, count: int):
        super().__init__(message)
        self.count = count


def unknown(kind: str, given: str, known: Iterable[str]) -> UsageError:
    """`UsageError` for a name that does not exist, with the nearest ones that do.

    >>> print(unknown("field", "witdh", ["width", "dim"]))
    unknown field 'witdh'; nearest: width (all: dim, width)
    """
    known = sorted(known)
    nearest = difflib.get_close_matches(given, known, n=3, cutoff=0.5)
    shown = ", ".join(known[:_SHOWN]) + (f", and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
    all_of_them = f" (all: {shown})" if len(known) <= _SHOWN else ""
    hint = f"nearest: {', '.join(nearest)}{all_of_them}" if nearest else f"known: {shown}"
    return UsageError(f"unknown {kind} {given!r}; {hint}")


def plain(text: str) -> str:
    r"""A text from anywhere as one line that a terminal shows and does not obey.

    >>> print(plain("red \x1b[31m and\na new line"))
    red \x1b[31m and\na new line
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def on_stderr(message: str) -> None:
    """Where one-line messages go unless the caller says otherwise."""
    print(plain(message), file=sys.stderr)
