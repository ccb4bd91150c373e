"""The experiment that a command names, with its config: `--config.FIELD VALUE`, `--preset NAME` and `--over FIELD=V1,V2`."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
from functools import partial
from typing import Annotated, Any, Literal, get_origin

import tyro

from . import console
from .contract import annotations, describe, unwrapped
from .sweeps.contract import config as config_
from .sweeps.contract.config import as_dict, leaves, replace, split, unquoted
from .sweeps.contract.functions import from_file, record
from .sweeps.contract.names import kept_as, parts
from .sweeps.contract.request import resolve
from .sweeps.errors import EveryCellFailed, UsageError, unknown
from .sweeps.results.failures import failure_of


def experiment_and_options(words: list[str], command: str, kind: type) -> tuple[Any, Any]:
    """The experiment that was named and the options for it, `config` among them; or (None, exit code)."""
    if not words or words[0].startswith("-"):
        over = " --over FIELD=V1,V2,..." if command == "sweep" else ""
        print(f"usage: closedform {command} EXPERIMENT{over} [--seeds N] [--preset NAME] [--config.FIELD VALUE ...]\n")
        print(f"closedform list shows the experiments; closedform {command} EXPERIMENT --help shows its fields.")
        return None, 0 if set(words) & {"-h", "--help"} else 2
    try:
        found, default = resolve(words[0], beside(words[0], "config"), beside(words[0], "predict"))
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # a function is traced here, to see what it returns
        if not parts(words[0])[1]:
            raise
        why = f"{failure_of(error).line}; {console.kept(error)}"
        raise EveryCellFailed(f"{kept_as(words[0])} failed: {why}", 1) from error
    spread = [part for word in words for part in (word.split("=", 1) if word.startswith("--preset=") else [word])]
    preset = next((spread[i + 1] for i, word in enumerate(spread[:-1]) if word == "--preset"), None)
    if default is None or preset is not None:
        default = found.default_config(preset)
    known = {leaf.path: leaf for leaf in leaves(default)}
    words = _joined(words, known)
    values = {}
    for flag, text in zip(words, [*words[1:], ""], strict=True):
        if flag.startswith("--config."):  # checked here first: tyro's messages are boxes, ours one line
            path, _, inline = flag.removeprefix("--config.").partition("=")
            path = path.replace("-", "_")
            parent, dot, last = path.rpartition(".")
            if path not in known and f"{parent}{dot}{last.removeprefix('no_')}" not in known:
                raise unknown(f"field of {found.name}", path, known)
            plain = unwrapped(known[path].annotation)[0] if path in known else None
            if plain in (int, float) or get_origin(plain) is Literal:
                values[path] = config_.parse(path, inline or text, known[path].annotation)
    replace(default, values)
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


def _joined(words: list[str], known: dict[str, Any]) -> list[str]:
    """The words with `--config.x -1e-3` as `--config.x=-1e-3`: else what begins with a minus would be taken for a flag."""
    joined: list[str] = []
    for word in words:
        flag = joined[-1] if joined else ""
        leaf = known.get(flag.removeprefix("--config.").replace("-", "_")) if flag.startswith("--config.") else None
        if leaf is not None and get_origin(unwrapped(leaf.annotation)[0]) is not tuple and re.match(r"-[.\di]", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _with_ranges(config: Any, prefix: str, comments: dict[str, str]) -> Any:
    """The config as an object that tyro shows with its comments and ranges: "(a whole number of at least 1; default: 64)"."""
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


def beside(text: str, what: str) -> Any:
    """For a function in a file, file.py:simulate: the object that the file calls `config` or `predict`, or None."""
    name, function = parts(text)
    return getattr(from_file(name), what, None) if function else None


def axes(texts: list[str], found: Any, config: Any) -> dict[str, tuple]:
    """The grid that `--over FIELD=V1,V2` spells; a value may be a list, [1, 2], and a text in quotes may hold a comma."""
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
        axes[path] = tuple(config_.parse(path, unquoted(word), known[path].annotation) for word in split(listed))
    return axes


def read(kind: type, words: list[str], command: str) -> Any:
    """`tyro.cli`, with its boxed errors folded into one line."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(kind, args=words, prog=f"closedform {command}")
    except SystemExit as end:
        if not end.code:
            raise console.HelpShown from None
        inside = [re.sub(r"[│╭╮╰╯]", "", line).strip() for line in box.getvalue().split("\n")]
        inside = inside[1:] if inside and "─" in inside[0] else inside
        message = " ".join(line for line in inside[: next((i for i, line in enumerate(inside) if "──" in line), None)] if line)
        raise UsageError(f"{message} (closedform {command} --help)") from None
