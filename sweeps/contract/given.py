"""The config of a function of the user's, as it was given (a dataclass or a dict of plain values) and as the engine has it."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import keyword
import operator
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from ...contract import Fixed, Plain, Static, plain
from ..errors import UsageError, shown
from . import config as config_

_ALLOWED = "a dataclass of plain values or a dict of them, {name: value}"


@dataclasses.dataclass(frozen=True)
class Record:
    """The base of dataclasses that are made of a dict."""


def takes_config(function: Callable, lead: tuple[str, ...], needed: bool = False) -> bool:
    """Whether a function takes a config after its other arguments. Raises `UsageError` where it can be called neither way."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of one that is not written in Python
        return True
    for takes in (True, False):
        try:
            signature.bind(*lead, *(["config"] if takes else []))
            return takes
        except TypeError:
            continue
    where = getattr(function, "__name__", repr(function))
    ways = [f"{where}({', '.join((*lead, *more))})" for more in (("config",), ())]
    raise UsageError(f"{where}{signature}: cannot be called; allowed: {ways[0]}, or {ways[1]} without a config")


def given(simulate: Callable, config: Any) -> Any:
    """The config of a function as an instance of a dataclass: what was given, or what its signature says; {} for none."""
    where = getattr(simulate, "__name__", repr(simulate))
    if not takes_config(simulate, ("key",)):
        if config is not None:
            raise UsageError(f"config: got {shown(config)}; {where}(key) takes none; allowed: {where}(key, config)")
        return _recorded("config", {})
    stated = config is None
    if config is None:
        config = _of_signature(simulate)
    if isinstance(config, type) and dataclasses.is_dataclass(config):
        config = config_.default(config)
    if isinstance(config, Mapping):
        return _recorded("config", config)
    if dataclasses.is_dataclass(config):
        return config
    by = f" as the second argument of {where}" if stated else ""
    raise UsageError(f"config: got {shown(config)}{by}; allowed: {_ALLOWED}")


def _of_signature(simulate: Callable) -> Any:
    """The default of the config, or the dataclass that it is annotated with; {} where it may be left out."""
    where, parameter = getattr(simulate, "__name__", repr(simulate)), config_parameter(simulate)
    if parameter is None:
        raise UsageError(f"config: {where} needs one; allowed: {_ALLOWED}")
    if parameter.default is not inspect.Parameter.empty:
        return {} if parameter.default is None else parameter.default
    try:
        hint = typing.get_type_hints(simulate).get(parameter.name)
    except (NameError, TypeError):
        hint = None
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return hint
    raise UsageError(
        f"config: {where}(key, {parameter.name}) needs one; allowed: {_ALLOWED}; in a file it stands beside the function, "
        f"config = {{...}} or @dataclass class Config"
    )


def config_parameter(simulate: Callable) -> inspect.Parameter | None:
    """The second parameter of a function, which takes its config."""
    parameters = list(inspect.signature(simulate).parameters.values())
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return positional[1] if len(positional) > 1 else None


def as_given(config: Any, mark: Callable[[float], Any] = float) -> Any:
    """The config as the function takes it: a dict again where it was one, a dataclass as it is.

    `mark` is applied to the static floats of a dict: `Static` makes of it the dict that was given.
    """
    if not isinstance(config, Record):
        return config
    values = {field.name: (field.type, getattr(config, field.name)) for field in dataclasses.fields(config)}
    return {
        name: mark(value) if kind == Annotated[float, Static] else as_given(value, mark)
        for name, (kind, value) in values.items()
    }


def _recorded(path: str, values: Mapping[str, Any]) -> Any:
    """A dict as an instance of a dataclass made for it, dicts inside of it too."""
    kinds, made = [], {}
    for name, value in values.items():
        where = f"{path}.{name}"
        if not isinstance(name, str) or not name.isidentifier():
            raise UsageError(f"{path}: got the name {name!r}; allowed: letters, digits and _, beginning with a letter")
        made[name] = _recorded(where, value) if isinstance(value, Mapping) else plain(value)
        kinds.append((name, _kind(where, made[name])))
        made[name] = plain(made[name].value) if isinstance(made[name], Fixed) else made[name]
    return _kind_of(tuple(kinds))(**made)


def _kind(path: str, value: Any) -> Any:
    """The annotation of a field of which one value is known."""
    if isinstance(value, Fixed):
        return Annotated[float, Static]
    for kind in (enum.Enum, bool, int, float, str):
        if isinstance(value, kind):
            return type(value) if kind is enum.Enum else kind
    if value is None:
        return Plain  # it says nothing of what else the field may be
    if isinstance(value, tuple | list):
        kinds = dict.fromkeys(_kind(path, plain(entry)) for entry in value)
        kind = float if set(kinds) == {int, float} else functools.reduce(operator.or_, kinds) if kinds else Plain
        return tuple[kind, ...]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value)
    allowed = "a float, an int, a bool, a text, None, an Enum, a tuple of these, a dict or a dataclass"
    way_out = " (an array as a tuple: .tolist())" if hasattr(value, "tolist") else ""
    raise UsageError(f"{path}: got {shown(value)}; allowed: {allowed}{way_out}")


@functools.lru_cache(maxsize=256)
def _kind_of(kinds: tuple[tuple[str, Any], ...]) -> type:
    return record("Config", dict(kinds), {}, Record)


def record(name: str, kinds: Mapping[str, Any], defaults: Mapping[str, Any], *bases: type) -> type:
    """A frozen dataclass, whatever its fields are called: `lambda` is no name in Python, but it is one in papers."""
    if not any(map(keyword.iskeyword, kinds)):
        fields = [
            (path, kind, *([dataclasses.field(default=defaults[path])] if path in defaults else []))
            for path, kind in kinds.items()
        ]
        return dataclasses.make_dataclass(name, fields, bases=bases, frozen=True)

    def start(self: Any, **values: Any) -> None:
        values = {**defaults, **values}
        if set(values) != set(kinds):
            raise TypeError(f"{name} has the fields {', '.join(kinds)}; got {', '.join(values)}")
        for field, value in values.items():
            object.__setattr__(self, field, value)

    def text(self: Any) -> str:
        return f"{name}({', '.join(f'{field}={getattr(self, field)!r}' for field in kinds)})"

    made = type(name, bases, {"__annotations__": dict(kinds), "__init__": start, "__repr__": text, **defaults})
    return dataclasses.dataclass(init=False, repr=False, eq=False, frozen=True)(made)
