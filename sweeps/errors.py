"""The exception for a request that cannot be met, whose message is written for the user."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable
from typing import Any

_SHOWN = 24  # names in a message
_LONG = 100  # letters of a value


class UsageError(ValueError):
    """A request that cannot be met: one line that names what was given and what is allowed. The command line exits with 2."""


class EveryCellFailed(UsageError):
    """A sweep none of whose cells has a result; `count` of them raised."""

    def __init__(self, message: str, count: int):
        super().__init__(message)
        self.count = count


def unknown(kind: str, given: str, known: Iterable[str], where: str = "") -> UsageError:
    """`UsageError` for a name that does not exist, with the three nearest that do, whatever the case; `where` lists them all.

    >>> print(unknown("field", "witdh", ["model.width", "dim"]))
    unknown field 'witdh'; nearest: model.width (all: dim, model.width)
    """
    known = sorted(known)
    if not known:
        return UsageError(f"unknown {kind} {given!r}; there is none")
    close = nearest(given, known)
    listed = ", ".join(known[:_SHOWN]) + (f", and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
    few = f"all: {listed}" if len(known) <= _SHOWN else where
    hint = f"nearest: {', '.join(close)}{f' ({few})' if few else ''}" if close else f"known: {listed}"
    return UsageError(f"unknown {kind} {given!r}; {hint}")


def nearest(given: str, known: Iterable[str]) -> list[str]:
    """The names most like one that does not exist, whatever the case: three at most."""
    alike = {name: _likeness(given, name) for name in sorted(known)}
    return sorted((name for name in alike if alike[name] >= 0.5), key=lambda name: (-alike[name], len(name)))[:3]


def _likeness(given: str, name: str) -> float:
    """0 to 1, of the whole name or its last part; a word that is part of a name is at least half of it."""
    given, name = given.casefold(), name.casefold()
    whole, last = (difflib.SequenceMatcher(None, given, one).ratio() for one in (name, re.split(r"[./]", name)[-1]))
    within = 0.5 if len(given) > 2 and given in name else 0.0
    return max(within, whole, last if last > 0.6 else 0.0)


def shown(value: Any) -> str:
    """What was given, short enough for a line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."


def plain(text: str) -> str:
    r"""A text from anywhere as one line that a terminal shows and does not obey.

    >>> print(plain("red \x1b[31m and\na new line"))
    red \x1b[31m and\na new line
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def on_stderr(message: str) -> None:
    """Where one-line messages go unless the caller says otherwise."""
    print(plain(message), file=sys.stderr)
