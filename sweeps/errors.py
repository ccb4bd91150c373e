"""The one exception that a person, not a programmer, is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
    hint = f"nearest: {', '.join(nearest)} (all: {', '.join(known)})" if nearest else f"known: {', '.join(known)}"
    return UsageError(f"unknown {kind} {given!r}; {hint}")
