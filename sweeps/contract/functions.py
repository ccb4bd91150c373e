"""Any function `simulate(key, config)` as an experiment; the function need not know this package."""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib.util
import inspect
import keyword
import operator
import os
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...contract import Tolerance, plain
from ..errors import UsageError, unknown
from . import config as config_
from . import sources
from .config import hashed
from .experiment import Experiment, checked, fields_of
from .names import FILE, kept_as, parts, source_file
from .precision import KEYS, precision, wants_float64

_ONLY = "value"  # the name of the result of a function that returns one array


def as_experiment(
    simulate: Callable[[Any, Any], Any], config: Any, predict: Callable[[Any], Any] | None, asked_by_name: bool = False
) -> tuple[Experiment, Any]:
    """The function as an experiment, and the config as an instance of its `Config`.

    Raises `UsageError` where the function, its config or what it returns cannot be used, saying why.
    """
    if not callable(simulate):
        raise UsageError(f"experiment: got {simulate!r}; allowed: a name, a module, or a function simulate(key, config)")
    given = _given(simulate, config)
    if isinstance(given, Mapping):
        given = {name: plain(value) for name, value in given.items()}
        kinds = tuple((name, _kind(name, value)) for name, value in given.items())
        chosen, unwrap = _from_dict(kinds)(**given), _as_dict
    else:
        chosen, unwrap = given, _unchanged
    chosen = config_.validate(chosen)
    return _experiment(simulate, predict, type(chosen), chosen, unwrap)._replace(asked_by_name=asked_by_name), chosen


def from_file(text: str) -> Any:
    """The module of a Python file, `my_paper.py`, or a function of it, `my_model.py:simulate`. The file is executed."""
    name, function = parts(text)
    path = Path(os.path.expanduser(name)).resolve()
    if path.suffix != ".py" or not path.is_file():
        raise UsageError(f"experiment: got {text!r}; allowed: the path of a Python file, or of one and a function (file.py:f)")
    known_as, named = path.stem, sys.modules.get(path.stem)
    taken = known_as in sys.stdlib_module_names or (named is not None and getattr(named, "__file__", None) != str(path))
    if taken or "." in known_as:
        known_as = f"{path.stem.replace('.', '_')}_{hashed(str(path), 8)}"  # a file may be called random.py
    if known_as not in sys.modules:
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))  # it finds what lies beside it
        specification = importlib.util.spec_from_file_location(known_as, path)
        assert specification is not None
        assert specification.loader is not None
        module = sys.modules[known_as] = importlib.util.module_from_spec(specification)
        vars(module)[FILE] = path
        try:
            with sources.watched():
                specification.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[known_as]
            if not isinstance(error, Exception | SystemExit):
                raise
            raise UsageError(f"{name}: cannot be imported ({type(error).__name__}: {error})") from error
    module = sys.modules[known_as]
    if not function:
        return module
    if not callable(getattr(module, function, None)):
        callables = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == known_as]
        raise unknown(f"function of {name}", function, callables)
    return getattr(module, function)


def _given(simulate: Callable, config: Any) -> Any:
    if config is None:
        parameters = list(inspect.signature(simulate).parameters.values())
        if len(parameters) == 2 and parameters[1].default is not inspect.Parameter.empty:
            config = parameters[1].default
        else:
            hint = typing.get_type_hints(simulate).get(parameters[1].name) if len(parameters) == 2 else None
            if not (isinstance(hint, type) and dataclasses.is_dataclass(hint)):
                raise UsageError("config: a function needs one, a dataclass of plain values or a dict of them")
            config = hint()
    if isinstance(config, Mapping) and config and all(isinstance(name, str) and name.isidentifier() for name in config):
        return dict(config)
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return config
    raise UsageError(f"config: got {config!r}; allowed: a dataclass of plain values or a dict of them, {{name: value}}")


def _kind(name: str, value: Any) -> Any:
    for kind in (enum.Enum, bool, int, float, str):
        if isinstance(value, kind):
            return type(value) if kind is enum.Enum else kind
    if value is None:
        return None | bool | int | float | str  # it says nothing of what else the field may be
    if isinstance(value, tuple | list) and value:
        kinds = dict.fromkeys(_kind(name, plain(entry)) for entry in value)
        kind = float if set(kinds) == {int, float} else functools.reduce(operator.or_, kinds)
        return tuple[kind, ...]
    raise UsageError(
        f"config.{name}: got {value!r}; allowed: a float, an int, a bool, a text, None, an Enum, or a tuple of these"
    )


@functools.lru_cache(maxsize=256)
def _from_dict(kinds: tuple[tuple[str, Any], ...]) -> type:
    return record("Config", dict(kinds), {})


def record(name: str, kinds: Mapping[str, Any], defaults: Mapping[str, Any]) -> type:
    """A frozen dataclass, whatever its fields are called: `lambda` is no name in Python, but it is one in papers."""
    if not any(map(keyword.iskeyword, kinds)):
        fields = [
            (path, kind, *([dataclasses.field(default=defaults[path])] if path in defaults else []))
            for path, kind in kinds.items()
        ]
        return dataclasses.make_dataclass(name, fields, frozen=True)

    def start(self: Any, **values: Any) -> None:
        values = {**defaults, **values}
        if set(values) != set(kinds):
            raise TypeError(f"{name} has the fields {', '.join(kinds)}; got {', '.join(values)}")
        for field, value in values.items():
            object.__setattr__(self, field, value)

    def text(self: Any) -> str:
        return f"{name}({', '.join(f'{field}={getattr(self, field)!r}' for field in kinds)})"

    made = type(name, (), {"__annotations__": dict(kinds), "__init__": start, "__repr__": text, **defaults})
    return dataclasses.dataclass(init=False, repr=False, eq=False, frozen=True)(made)


def _as_dict(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def _unchanged(config: Any) -> Any:
    return config


def _experiment(simulate: Callable, predict: Callable | None, kind: type, default: Any, unwrap: Callable) -> Experiment:
    floats = config_.traced_values(default)

    def shapes(function: Callable, float64: bool, *lead: Any) -> dict[str, int]:
        """How many axes each array has that the function returns, by name, without computing it."""

        def named(*arguments: Any) -> dict[str, Any]:
            *lead, values = arguments
            return _named(function, function(*lead, unwrap(config_.with_traced(default, values))))

        with precision(float64):
            return {name: leaf.ndim for name, leaf in jax.eval_shape(named, *lead, floats).items()}

    def predicted_names(predict: Callable) -> frozenset[str]:
        try:
            return frozenset(shapes(predict, True))
        except UsageError:
            raise
        except Exception as error:
            try:  # it wants plain numbers
                with precision(True):
                    return frozenset(_named(predict, predict(unwrap(default))))
            except Exception:
                raise error from None

    key = jax.eval_shape(lambda: jax.random.key(0, impl=KEYS))
    ranks = shapes(simulate, wants_float64(default), key)
    predicted = frozenset() if predict is None else predicted_names(predict)
    if strangers := sorted(predicted - set(ranks)):
        raise UsageError(f"predict returns {', '.join(strangers)}; simulate returns {', '.join(sorted(ranks))}")
    own = _annotations(simulate)
    kinds = {}
    for name, rank in sorted(ranks.items()):
        array = own.get(name, Float[Array, " ".join(f"{name}_{axis}" for axis in range(rank))])
        kinds[name] = array if name in predicted else array | None
    result = NamedTuple("Result", list(kinds.items()))

    def as_result(function: Callable, value: Any) -> Any:
        named = _named(function, value)
        return result(**{name: named.get(name) for name in kinds})

    predictions: dict[str, Callable] = {}
    if predict is not None:
        predictions["prediction"] = functools.wraps(predict)(lambda config: as_result(predict, predict(unwrap(config))))
    name = kept_as(simulate)
    fields = fields_of(name, result)
    files = [file for part in (simulate, predict, kind) if part is not None and (file := source_file(part)) is not None]
    return checked(
        Experiment(
            name=name,
            Config=kind,
            functions={"simulate": lambda key, config: as_result(simulate, simulate(key, unwrap(config)))},
            predictions=predictions,
            fields=fields,
            tolerance=dict.fromkeys(fields, Tolerance()),
            presets={"quick": {}},
            document=inspect.getdoc(simulate) or "",
            files=tuple(dict.fromkeys(files)),
            plain=True,
            as_given=unwrap,
        )
    )


def _annotations(simulate: Callable) -> dict[str, Any]:
    """The jaxtyping annotations of the NamedTuple that the function says it returns; nothing otherwise."""
    try:
        returned = typing.get_type_hints(simulate).get("return")
        hints = typing.get_type_hints(returned, include_extras=True) if hasattr(returned, "_fields") else {}
    except (NameError, TypeError):
        return {}
    return {name: hint for name, hint in hints.items() if hasattr(hint, "dim_str")}


def _named(function: Callable, value: Any) -> dict[str, Any]:
    """The arrays that a function returned, by name."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    elif not isinstance(value, Mapping):
        value = {_ONLY: value}
    flat = {str(name): leaf for name, leaf in value.items() if leaf is not None}
    for name, leaf in flat.items():
        real = hasattr(leaf, "ndim") and any(
            jnp.issubdtype(leaf.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)
        )
        named = name.isidentifier() and not name.startswith("_") and not keyword.iskeyword(name)
        if not named or not (real or isinstance(leaf, int | float)):
            where = getattr(function, "__name__", repr(function))
            allowed = "a real array, or a dict or NamedTuple of them by name (no nesting, no Python keyword)"
            raise UsageError(f"{where} returns {name} = {leaf!r}; allowed: {allowed}")
        if isinstance(leaf, int | np.ndarray | np.generic) and jnp.issubdtype(jnp.result_type(leaf), jnp.integer):
            limits = jnp.iinfo(jax.dtypes.canonicalize_dtype(int))
            if np.size(leaf) and not limits.min <= np.min(leaf) <= np.max(leaf) <= limits.max:
                allowed = f"whole numbers of {limits.bits} bits, or a floating-point number"
                raise UsageError(
                    f"{getattr(function, '__name__', repr(function))} returns {name} = {leaf!r}; allowed: {allowed}"
                )
    return {name: leaf if hasattr(leaf, "ndim") else jnp.asarray(leaf) for name, leaf in flat.items()}
