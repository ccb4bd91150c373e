"""Configs as the engine sees them: flat paths, checked values, and the split into traced and static fields.

A Config is a frozen dataclass of plain Python values, possibly nested. Fields annotated `float` are *traced*: a compiled
program takes them as arguments, so a grid over them is one program. Everything else, and a float that is `Static` (see
contract.py), is *static*: it fixes shapes and branches, and each value of it is a program of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ...contract import REFUSED, accept, annotations, describe, is_traced, unwrapped
from ..errors import UsageError, unknown


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
    return [(name, annotation, is_traced(annotation)) for name, annotation in annotations(kind).items()]


def replace(config: Any, values: Mapping[str, Any]) -> Any:
    """Copy of `config` with `{path: value}` set; every path, type and value is checked, `__post_init__` included.

    Raises `UsageError` with one line that names the field, what was given and what is allowed.
    """
    known = {leaf.path: leaf for leaf in leaves(config)}
    nested: dict[str, Any] = {}
    for path, value in values.items():
        if path not in known:
            raise unknown("field", path, known)
        *parents, name = path.split(".")
        branch = nested
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[name] = checked(path, value, known[path].annotation)
    return _rebuild(config, nested)


def _rebuild(config: Any, nested: Mapping[str, Any], prefix: str = "") -> Any:
    changes = {
        name: _rebuild(getattr(config, name), value, f"{prefix}{name}.") if isinstance(value, dict) else value
        for name, value in nested.items()
    }
    try:
        return dataclasses.replace(config, **changes)
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"{prefix.rstrip('.') or 'config'}: {error}") from error


def validate(config: Any) -> None:
    """Raise `UsageError` if a value of `config` has another type than its annotation, or a float is not finite."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise UsageError(f"a config is an instance of the experiment's Config dataclass; got {config!r}")
    for leaf in leaves(config):
        checked(leaf.path, leaf.value, leaf.annotation)


def checked(path: str, value: Any, annotation: Any) -> Any:
    """`value` as `annotation` wants it (an int is a float, a list a tuple), or a `UsageError` that names `path`."""
    try:
        accepted = accept(value, annotation)
    except TypeError as error:
        raise UsageError(f"{path}: {error}") from error
    if accepted is REFUSED:
        raise UsageError(f"{path}: got {value!r}; allowed: {describe(annotation)}")
    return accepted


def parse(path: str, text: str, annotation: Any) -> Any:
    """The value that `text` (one command-line word) spells for a field of this annotation, or a `UsageError`."""
    kind, _ = unwrapped(annotation)
    if kind is str:
        return text
    words = {"True": True, "true": True, "False": False, "false": False, "None": None}
    try:
        value = words[text] if text in words else json.loads(text)
    except json.JSONDecodeError:
        value = text
    if isinstance(value, int) and not isinstance(value, bool) and kind is float:
        value = float(value)
    return checked(path, value, annotation)


def traced_values(config: Any) -> dict[str, float]:
    """`{path: value}` of the traced floats of `config`."""
    return {leaf.path: leaf.value for leaf in leaves(config) if leaf.traced}


def static_key(config: Any) -> str:
    """A text equal for two configs exactly if one compiled program serves both."""
    return json.dumps([type(config).__qualname__, {leaf.path: leaf.value for leaf in leaves(config) if not leaf.traced}])


def as_dict(config: Any) -> dict[str, Any]:
    """All values of `config` as `{path: value}`; what the result file stores and its name is hashed from."""
    return {leaf.path: leaf.value for leaf in leaves(config)}


def build(kind: type, values: Mapping[str, Any], prefix: str = "") -> Any:
    """The dataclass `kind` with all its values, `{path: value}` as `as_dict` gives them."""
    given = {}
    for name, annotation, _ in _fields(kind):
        path = prefix + name
        if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
            given[name] = build(annotation, values, path + ".")
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
