"""Configs as the engine sees them: flat paths, checked values, and the split into traced and static fields.

A Config is a frozen dataclass of plain Python values, possibly nested. Fields annotated `float` are *traced*: a compiled
program takes them as arguments, so a grid over them is one program. Everything else, and a float that is `Static` (see
contract.py), is *static*: it fixes shapes and branches, and each value of it is a program of its own.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
import math
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ...contract import REFUSED, accept, annotations, describe, is_traced, unwrapped
from ..errors import UsageError, shown, unknown


class Leaf(NamedTuple):
    """One plain value inside a (nested) Config."""

    path: str  # dotted, as on the command line: "model.dim"
    value: Any
    annotation: Any
    traced: bool


def leaves(config: Any, prefix: str = "") -> Iterator[Leaf]:
    """Every plain value of `config` in declaration order, nested Configs flattened to dotted paths."""
    for name, annotation, traced in _fields(type(config)):
        path, value = prefix + name, getattr(config, name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, path + ".")
        else:
            yield Leaf(path, value, annotation, traced)


@functools.cache
def _fields(kind: type) -> list[tuple[str, Any, bool]]:
    """Name, annotation and whether it is traced, of each field; kept, since a grid asks a hundred thousand times."""
    for field in dataclasses.fields(kind):
        if not field.init:  # it would be left as it is while the fields that it is computed from are swept
            raise UsageError(f"{field.name}: is computed by {kind.__name__} (init=False); allowed: a property that computes it")
    try:
        return [(name, annotation, is_traced(annotation)) for name, annotation in annotations(kind).items()]
    except (NameError, TypeError) as error:
        raise UsageError(f"config: the annotations of {kind.__name__} cannot be read ({error})") from error


def default(kind: type) -> Any:
    """The config with the default of every field. Raises `UsageError` where one has none, or where it is refused."""
    needed = [
        field.name
        for field in dataclasses.fields(kind)
        if field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if needed:
        example = f"{kind.__name__}({', '.join(f'{name}=...' for name in needed)})"
        raise UsageError(
            f"config: {kind.__name__} has no default for {', '.join(needed)}; allowed: defaults, or config = {example}"
        )
    return _made(kind, "config")


def _made(make: Callable[..., Any], path: str, **values: Any) -> Any:
    """What a dataclass makes of these values; `UsageError` in one line where its own checks refuse them."""
    try:
        return make(**values)
    except UsageError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        kind = "" if isinstance(error, ValueError) and said else type(error).__name__ + (": " if said else "")
        raise UsageError(f"{path}: {kind}{said}") from error


def replace(config: Any, values: Mapping[str, Any]) -> Any:
    """Copy of `config` with `{path: value}` set; every path, type and value is checked, `__post_init__` included.

    Raises `UsageError` with one line that names the field, what was given and what is allowed.
    """
    known = {leaf.path: leaf for leaf in leaves(config)}
    nested: dict[str, Any] = {}
    given: dict[str, str] = {}
    for path, value in values.items():
        if path not in known:
            raise unknown("field", path, known)
        *parents, name = path.split(".")
        branch = nested
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[name] = checked(path, value, known[path].annotation)
        given[path] = shown(branch[name])
    try:
        return _rebuild(config, nested)
    except UsageError as error:  # what couples fields may name another one
        said = str(error)
        if any(path.split(".")[-1] in said and value in said for path, value in given.items()):
            raise
        changed = ", ".join(f"{path}: got {value}" for path, value in given.items())
        raise UsageError(f"{changed}; allowed: what fits the other fields ({said.removeprefix('config: ')})") from error


def _rebuild(config: Any, nested: Mapping[str, Any], prefix: str = "") -> Any:
    changes = {
        name: _rebuild(getattr(config, name), value, f"{prefix}{name}.") if isinstance(value, dict) else value
        for name, value in nested.items()
    }
    return _made(functools.partial(dataclasses.replace, config), prefix.rstrip(".") or "config", **changes)


def validate(config: Any) -> Any:
    """The config with its values as their annotations want them: numbers out of arrays plain, lists as tuples, -0.0 as 0.0.

    Raises `UsageError` if a value has another type than its annotation, or a float is not finite.
    """
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise UsageError(f"config: got {shown(config)}; allowed: an instance of the experiment's Config dataclass")
    changed = {}
    for leaf in leaves(config):
        value = checked(leaf.path, leaf.value, leaf.annotation)
        if type(value) is not type(leaf.value) or repr(value) != repr(leaf.value):
            changed[leaf.path] = value
    return replace(config, changed) if changed else config


_FLOAT32 = 1.1754943508222875e-38, 3.4028234663852886e38  # the smallest and the largest normal number in float32


def check_float32(config: Any) -> None:
    """Raise `UsageError` if a traced value would be infinite, or nothing at all, in a simulation in float32."""
    for path, value in traced_values(config).items():
        if value and not math.isinf(value) and not _FLOAT32[0] <= abs(value) <= _FLOAT32[1]:
            allowed = f"0, or {_FLOAT32[0]:.3g} to {_FLOAT32[1]:.3g} in size, where the simulation is float32"
            raise UsageError(f"{path}: got {value!r}; allowed: {allowed} (more in float64, by a field dtype)")


def checked(path: str, value: Any, annotation: Any) -> Any:
    """`value` as `annotation` wants it (an int is a float, a list a tuple), or a `UsageError` that names `path`."""
    try:
        accepted = accept(value, annotation)
    except TypeError as error:
        raise UsageError(f"{path}: {error}") from error
    if accepted is REFUSED:
        raise UsageError(f"{path}: got {shown(value)}; allowed: {describe(annotation)}")
    return accepted


def parse(path: str, text: str, annotation: Any) -> Any:
    """The value that `text` (one command-line word) spells for a field of this annotation, or a `UsageError`."""
    kind = unwrapped(annotation)[0]
    value = text if kind is str else _spelled(text)
    if value != text and accept(value, annotation) is REFUSED and accept(text, annotation) is not REFUSED:
        value = text  # Literal["1", "2"]
    if type(value) is int and kind is float and abs(value) < 1e300:
        value = float(value)
    return checked(path, value, annotation)


_WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None, "inf": math.inf}
_WORDS |= {"-inf": -math.inf, "Infinity": math.inf, "-Infinity": -math.inf}
_WHOLE, _NUMBER = re.compile(r"[+-]?[0-9]{1,4000}"), re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|.', re.DOTALL)  # a quoted text, or one character


def _spelled(text: str) -> Any:
    """The number, truth value, None, list or text that a word spells: .5, 1., +1, None, [1, 2], "quoted" or anything else."""
    text = text.strip()
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    if text[:1] + text[-1:] in ("[]", "()") and len(text) < 10_000:
        return tuple(map(_spelled, split(text[1:-1])))
    return unquoted(text)


def split(text: str) -> list[str]:
    """The words between commas; a comma inside of brackets or quotes is part of its word.

    >>> split('1, [2, 3], "a, b"')
    ['1', '[2, 3]', '"a, b"']
    """
    words, depth = [""], 0
    for piece in _PIECE.findall(text):
        depth += (piece in "[(") - (piece in "])")
        if piece == "," and depth == 0:
            words.append("")
        else:
            words[-1] += piece
    words = [word.strip() for word in words]
    return words if words != [""] else []


def unquoted(text: str) -> str:
    """A text in double quotes without them, as JSON reads it; another text as it is."""
    try:
        value = json.loads(text) if text[:1] == '"' else text
    except ValueError:
        return text
    return value if isinstance(value, str) else text


def traced_values(config: Any) -> dict[str, float]:
    """`{path: value}` of the traced floats of `config`."""
    return {leaf.path: leaf.value for leaf in leaves(config) if leaf.traced}


def static_key(config: Any) -> str:
    """A text equal for two configs exactly if one compiled program serves both."""
    static = {leaf.path: _written(leaf.value) for leaf in leaves(config) if not leaf.traced}
    return json.dumps([type(config).__qualname__, static])


def as_dict(config: Any) -> dict[str, Any]:
    """All values of `config` as `{path: value}`; what the result file stores and its name is hashed from."""
    return {leaf.path: _written(leaf.value) for leaf in leaves(config)}


def _written(value: Any) -> Any:
    """A value as files have it: a member of an Enum by its name."""
    if isinstance(value, tuple | list):
        return tuple(map(_written, value))
    return value.name if isinstance(value, enum.Enum) else value


def build(kind: type, values: Mapping[str, Any], prefix: str = "") -> Any:
    """The dataclass `kind` with all its values, `{path: value}` as `as_dict` gives them."""
    given = {}
    for name, annotation, _ in _fields(kind):
        path = prefix + name
        inner = [kind for kind in (annotation, *typing.get_args(annotation)) if dataclasses.is_dataclass(kind)]
        if inner and path not in values:
            given[name] = build(inner[0], values, path + ".")  # type: ignore[arg-type]
        else:
            given[name] = checked(path, values[path], annotation)
    return kind(**given)


def with_traced(config: Any, values: Mapping[str, Any], prefix: str = "") -> Any:
    """Copy of `config` whose traced floats are `values` (tracers); made without `__init__`, so nothing validates them."""
    copy = object.__new__(type(config))
    for field in dataclasses.fields(config):
        path, value = prefix + field.name, getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            value = with_traced(value, values, path + ".")
        object.__setattr__(copy, field.name, values.get(path, value))
    return copy


def hashed(identity: Any, digits: int = 16) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:digits]
