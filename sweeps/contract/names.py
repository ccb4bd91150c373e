"""One rule for the name of an experiment, under which its results are kept, and for the file of a function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = __name__.split(".")[0]
FILE = "__closedform_file__"  # of a module that was given as a file


def parts(text: str) -> tuple[str, str]:
    """A file and the function of it that is meant, "" for none; nothing but the colon before a name divides them.

    >>> parts("mine.py:simulate"), parts("a:b/c.d.py"), parts("xor/phases")
    (('mine.py', 'simulate'), ('a:b/c.d.py', ''), ('xor/phases', ''))
    """
    file, colon, function = text.rpartition(":")
    return (file, function) if colon and file.endswith(".py") else (text, "")


def is_file(text: str) -> bool:
    """Whether a file is meant, or a function of one, and not an experiment of this package.

    >>> is_file("mine.py:simulate"), is_file("xor/phases")
    (True, False)
    """
    return parts(text)[0].endswith(".py")


def kept_as(experiment: Any) -> str:
    """The name of an experiment, under which its results are kept.

    Of an experiment of this package it is the name itself; of a file, and of a function in it, the file's name without its
    suffix, and the function's. It is the same for what is typed (`mine.py:simulate`), for the module, and for the function.

    >>> kept_as("xor/phases"), kept_as("~/mine.py:simulate"), kept_as("a.b.py")
    ('xor/phases', 'mine/simulate', 'a/b')
    """
    if isinstance(experiment, str):
        name, function = parts(experiment)
        if not name.endswith(".py"):
            return experiment
        name = f"{Path(name).stem}.{function}"
    elif isinstance(experiment, ModuleType):
        file = vars(experiment).get(FILE)
        name = file.stem if file else experiment.__name__.removeprefix(f"{_PACKAGE}.experiments.")
    else:
        file = source_file(experiment)
        name = (
            getattr(experiment, "__qualname__", type(experiment).__name__)
            .replace("<locals>.", "")
            .replace("<lambda>", "lambda")
        )
        name = f"{file.stem if file else 'interactive'}.{name}"
    return "/".join(filter(None, name.split(".")))


def source_file(function: Callable) -> Path | None:
    """The file that defines a function, or None for one typed into a session."""
    file = getattr(sys.modules.get(getattr(function, "__module__", None) or ""), "__file__", None)
    return Path(file).resolve() if file else None
