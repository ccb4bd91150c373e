"""What was typed after a command, as options: every mistake is one line, told before anything is computed."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import re
import sys
import types
import typing
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin

from . import console
from .contract import annotations, describe, unwrapped

if TYPE_CHECKING:
    from tyro.conf import Positional as Positional
else:

    class Positional:
        """A word without a flag. Annotations are texts, evaluated when tyro asks for them, or for `_plainly` without tyro."""

        def __class_getitem__(cls, kind: Any) -> Any:
            tyro = sys.modules.get("tyro")
            return Annotated[tyro.conf.Positional[kind] if tyro else kind, cls]


_FLAG = re.compile(r"--?(?!inf)[A-Za-z]")  # -1, -.5 and -inf are values


def experiment_and_options(words: list[str], command: str, kind: type) -> tuple[Any, Any]:
    """The experiment that was named and the options for it, `config` among them; or (None, exit code)."""
    if not words or words[0].startswith("-"):
        over = " --over FIELD=V1,V2,..." if command == "sweep" else ""
        print(f"usage: closedform {command} EXPERIMENT{over} [--seeds N] [--preset NAME] [--config.FIELD VALUE ...]\n")
        print(f"closedform list shows the experiments; closedform {command} EXPERIMENT --help shows its fields.")
        return None, 0 if set(words) & {"-h", "--help"} else 2
    import tyro

    from .sweeps.contract.config import as_dict, leaves, replace
    from .sweeps.contract.names import kept_as, parts
    from .sweeps.contract.request import resolve
    from .sweeps.errors import EveryCellFailed, UsageError
    from .sweeps.results.failures import failure_of

    try:
        found, default = resolve(words[0])
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # a function is traced here, to see what it returns
        if not parts(words[0])[1]:
            raise
        why = f"{failure_of(error).line}; {console.kept(error)}"
        raise EveryCellFailed(f"{kept_as(words[0])} failed: {why}", 1) from error
    spread = [part for word in words for part in (word.split("=", 1) if word.startswith("--preset=") else [word])]
    preset = next((spread[i + 1] for i, word in enumerate(spread[:-1]) if word == "--preset"), None)
    default = found.default_config(preset, default)
    known = {leaf.path: leaf for leaf in leaves(default)}
    words = _joined(words, known)
    replace(default, _values(words, known, found.name))
    comments = {}
    if {"-h", "--help"} & set(words):
        from .gallery.entries import meanings

        comments = meanings(default)
    shown = _with_ranges(default, "", comments)
    options = dataclasses.make_dataclass(
        command,
        [
            ("experiment", tyro.conf.Positional[str], dataclasses.field(kw_only=True)),
            ("config", type(shown), dataclasses.field(default=shown)),
        ],
        bases=(kind,),
    )
    options.__doc__ = found.about().claim
    chosen = read(options, words, f"{command} {found.name}")
    chosen.config = replace(default, as_dict(chosen.config))
    return found, chosen


def _values(words: list[str], known: dict[str, Any], name: str) -> dict[str, Any]:
    """`{path: value}` of the flags --config.FIELD, each checked: tyro's messages are boxes, ours one line."""
    from .sweeps.contract.config import parse
    from .sweeps.errors import UsageError, unknown

    values: dict[str, Any] = {}
    for place, flag in enumerate(words):
        if not flag.startswith("--config."):
            continue
        path, equals, inline = flag.removeprefix("--config.").partition("=")
        path = path.replace("-", "_")
        parent, dot, last = path.rpartition(".")
        positive = f"{parent}{dot}{last.removeprefix('no_')}"
        if path not in known and (positive not in known or unwrapped(known[positive].annotation)[0] is not bool):
            raise unknown(f"field of {name}", path, known)
        given = [inline] if equals else list(itertools.takewhile(lambda word: not _FLAG.match(word), words[place + 1 :]))
        leaf = known.get(path, known.get(positive))
        assert leaf is not None
        kind = unwrapped(leaf.annotation)[0]
        if kind is bool:
            if given:
                *parents, name = leaf.path.split(".")
                off = ".".join([*parents, f"no-{name}"])
                raise UsageError(
                    f"{leaf.path}: got {given[0]!r}; allowed: --config.{leaf.path} or --config.{off}, without a value"
                )
        elif get_origin(kind) is tuple:
            values[path] = parse(path, given[0] if equals else f"[{', '.join(given)}]", leaf.annotation)
        elif kind is not str or not given:
            values[path] = parse(path, given[0] if given else "", leaf.annotation)
    return values


def _joined(words: list[str], known: dict[str, Any]) -> list[str]:
    """The words as tyro reads them: `--config.x -1` as `--config.x=-1`, `--config.sizes=[1,2]` as `--config.sizes 1 2`.

    Else what begins with a minus would be taken for a flag, and a list for one word.
    """
    joined: list[str] = []
    leaf, several = None, False  # what the flag before is of, and whether it takes several values
    for word in words:
        if word.startswith("--config."):
            path, equals, inline = word.removeprefix("--config.").partition("=")
            leaf = known.get(path.replace("-", "_"))
            several = leaf is not None and get_origin(unwrapped(leaf.annotation)[0]) is tuple
            joined += [f"--config.{path}", *_entries(inline)] if several and equals else [word]
            leaf = None if equals else leaf
        elif several and word[:1] + word[-1:] in ("[]", "()"):
            joined += _entries(word)
        elif leaf is not None and not several and re.match(r"-[.\di]", word):
            joined[-1] += f"={word}"
            leaf = None
        else:
            leaf, several = None, several and not _FLAG.match(word)
            joined.append(word)
    return joined


def _entries(text: str) -> list[str]:
    """The values of a list, [1, 2] or 1,2."""
    from .sweeps.contract.config import split

    return split(text[1:-1] if text[:1] + text[-1:] in ("[]", "()") else text)


def _with_ranges(config: Any, prefix: str, comments: dict[str, str]) -> Any:
    """The config as an object that tyro shows with its comments and ranges: "(a whole number of at least 1; default: 64)"."""
    import tyro

    from .sweeps.contract.given import record

    kinds, values = {}, {}
    for name, annotation in annotations(type(config)).items():
        path, values[name] = prefix + name, getattr(config, name)
        if dataclasses.is_dataclass(values[name]):
            values[name] = _with_ranges(values[name], f"{path}.", comments)
            kinds[name] = type(values[name])
            continue
        hint = partial("({}; default: {})".format, describe(annotation))
        kinds[name] = Annotated[annotation, tyro.conf.arg(help=comments.get(path, ""), help_behavior_hint=hint)]
    return record(type(config).__name__, kinds, values)()


def axes(texts: list[str], found: Any, config: Any, words: Sequence[str] = ()) -> dict[str, tuple]:
    """The grid that `--over FIELD=V1,V2` spells; a value may be a list, [1, 2], and a text in quotes may hold a comma."""
    from .sweeps import UsageError
    from .sweeps.contract.config import leaves, parse, split, unquoted
    from .sweeps.errors import unknown

    known = {leaf.path: leaf for leaf in leaves(config)}
    axes = {}
    for text in texts:
        path, equals, listed = text.partition("=")
        path = path.strip().replace("-", "_")
        if not equals or not listed:
            raise UsageError(f"over: got {text!r}; allowed: FIELD=V1,V2,...")
        if path not in known:
            raise unknown(f"field of {found.name}", path, known)
        if path in axes:
            raise UsageError(f"over: {path} is given twice; allowed: one list of values a field")
        if f"config.{path}" in flags(list(words)):
            raise UsageError(f"{path}: is set by --config.{path} and swept by --over; allowed: one of the two")
        axes[path] = tuple(parse(path, unquoted(word), known[path].annotation) for word in split(listed))
    return axes


def check_output(path: Path) -> None:
    """Refuse a file that cannot be written, before it is made."""
    from .sweeps.errors import UsageError

    if path.is_dir():
        raise UsageError(f"output: got {str(path)!r}, a folder; allowed: the name of a file, such as {path / 'report.html'}")


def flags(words: list[str]) -> list[str]:
    """The options that were typed, without dashes and values, in the spelling of Python: config.learning_rate.

    >>> flags(["mine.py", "--seeds=3", "--config.learning-rate", "-1", "--no-zip"])
    ['seeds', 'config.learning_rate', 'no_zip']
    """
    return [word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--") and len(word) > 2]


def read(kind: type, words: list[str], command: str) -> Any:
    """The options of a command, a dataclass, from what was typed. Raises `UsageError` in one line."""
    from .sweeps.errors import UsageError

    _check(kind, words, command)
    if (chosen := _plainly(kind, words)) is not None:
        return chosen
    import tyro

    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(kind, args=words, prog=f"closedform {command}")
    except SystemExit as end:
        if not end.code:
            raise console.HelpShown from None
        raise UsageError(f"{_message(box.getvalue())} (closedform {command} --help)") from None


def _plainly(kind: type, words: list[str]) -> Any:
    """The options as tyro would read them; None where tyro has to, which takes a third of a second to import.

    That is for help, for mistakes, and for options of other types than texts, paths and switches.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    bare = {name: unwrapped(hint)[0] for name, hint in hints.items()}
    if not set(bare.values()) <= {str, str | None, Path, bool, list[str]} or {"-h", "--help", "--", "None"} & set(words):
        return None
    place = next((name for name, hint in hints.items() if Positional in unwrapped(hint)[1]), None)
    values: dict[str, Any] = {}
    at = 0
    while at < len(words):
        name, equals, value = words[at].removeprefix("--").partition("=")
        name, at = name.replace("-", "_"), at + 1
        switch = name.removeprefix("no_")
        if not words[at - 1].startswith("-"):
            several = list(itertools.takewhile(lambda word: not word.startswith("-"), words[at - 1 :]))
            many = place is not None and bare[place] == list[str]
            if place is None or place in values or (len(several) > 1 and not many):
                return None
            values[place], at = several if many else several[0], at + len(several) - 1
        elif bare.get(switch) is bool and not equals:
            values[switch] = switch == name
        elif name == place or bare.get(name) not in (str, str | None, Path):
            return None
        elif equals or (at < len(words) and not words[at].startswith("-")):
            values[name] = (Path if bare[name] is Path else str)(value if equals else words[at])
            at += not equals
        else:
            return None
    return kind(**values)


def _message(text: str) -> str:
    """What tyro says of a mistake, without the box or the lines around it, the title, and the advice below."""
    sections: list[list[str]] = [[]]
    lines = [re.sub(r"[│╭╮╰╯]", "", line).strip() for line in text.split("\n")]
    for line in lines:
        if re.search("──|---", line):
            sections.append([])
        elif line:
            sections[-1].append(line)
    told = [" ".join(section) for section in sections if section]
    return told[1] if sections[0] and len(told) > 1 else told[0]  # without a box the title is a section of its own


def _check(kind: type, words: list[str], command: str) -> None:
    """Refuse options that a command does not have, that are given twice, and values that are none of theirs."""
    from .sweeps.contract.config import parse
    from .sweeps.errors import UsageError, unknown

    hints = {name: hint for name, hint in typing.get_type_hints(kind, include_extras=True).items() if name != "config"}
    bare = {name: unwrapped(hint)[0] for name, hint in hints.items()}
    known = {**hints, **{f"no_{name}": bool for name, hint in bare.items() if hint is bool}, "help": None}
    for name in (one for one in flags(words) if not one.startswith("config.")):
        if name not in known:
            dashed = [f"--{one.replace('_', '-')}" for one in known if not one.startswith("no_")]
            raise unknown(f"option of closedform {command}", f"--{name.replace('_', '-')}", dashed)
    repeated = [name for name, count in Counter(one.removeprefix("no_") for one in flags(words)).items() if count > 1]
    if twice := [name for name in repeated if get_origin(bare.get(name)) is not list]:
        raise UsageError(f"{twice[0]}: --{twice[0].replace('_', '-')} is given twice; allowed: once")
    for place, word in enumerate(words):
        name, equals, inline = word.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if word.startswith("--") and _is_checked(bare.get(name)):
            parse(name, inline if equals else "".join(words[place + 1 : place + 2]), bare[name])


def _is_checked(hint: Any) -> bool:
    """Whether a value of this type is checked here: a number or one of some words, or nothing."""
    kinds = typing.get_args(hint) if get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    return all(kind in (int, float, type(None)) or get_origin(kind) is Literal for kind in kinds) and hint is not None
