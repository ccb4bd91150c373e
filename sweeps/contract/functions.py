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
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...contract import plain
from ..errors import UsageError, unknown
from . import config as config_
from .config import hashed
from .precision import KEYS, precision, wants_float64

_PACKAGE = __name__.split(".")[0]
_ONLY = "value"  # the name of the result of a function that returns one array


def as_module(simulate: Callable[[Any, Any], Any], config: Any, predict: Callable[[Any], Any] | None) -> tuple[ModuleType, Any]:
    """The function as a module that follows the experiment contract, and the config as an instance of its `Config`.

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
    return _module(simulate, predict, type(chosen), chosen, unwrap), chosen


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
        vars(module)[_FILE] = path
        try:
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


_FILE = "__closedform_file__"  # of a module that was given as a file


def parts(text: str) -> tuple[str, str]:
    """A file and the function of it that is meant, "" for none; nothing but the colon before a name divides them.

    >>> parts("mine.py:simulate"), parts("a:b/c.d.py"), parts("xor/phases")
    (('mine.py', 'simulate'), ('a:b/c.d.py', ''), ('xor/phases', ''))
    """
    file, colon, function = text.rpartition(":")
    return (file, function) if colon and file.endswith(".py") else (text, "")


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
        file = vars(experiment).get(_FILE)
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


def _module(simulate: Callable, predict: Callable | None, kind: type, default: Any, unwrap: Callable) -> ModuleType:
    """The module; kept, so that a second sweep in the same process finds its programs compiled."""
    floats = config_.traced_values(default)

    def shapes(function: Callable, float64: bool, *lead: Any) -> Any:
        """What the function returns, by name, without computing it."""

        def named(*arguments: Any) -> dict[str, Any]:
            *lead, values = arguments
            return _named(function, function(*lead, unwrap(config_.with_traced(default, values))))

        with precision(float64):
            return {name: leaf.ndim for name, leaf in jax.eval_shape(named, *lead, floats).items()}

    key = jax.eval_shape(lambda: jax.random.key(0, impl=KEYS))
    ranks = tuple(sorted(shapes(simulate, wants_float64(default), key).items()))
    predicted = None if predict is None else frozenset(shapes(predict, True))
    if predicted is not None and not predicted <= {name for name, _ in ranks}:
        strangers = sorted(predicted - {name for name, _ in ranks})
        raise UsageError(f"predict returns {', '.join(strangers)}; simulate returns {', '.join(name for name, _ in ranks)}")
    return _built(simulate, predict, kind, unwrap, ranks, predicted, _annotations(simulate))


@functools.lru_cache(maxsize=256)
def _built(
    simulate: Callable,
    predict: Callable | None,
    kind: type,
    unwrap: Callable,
    ranks: tuple[tuple[str, int], ...],
    predicted: frozenset[str] | None,
    annotations: tuple[tuple[str, Any], ...],
) -> ModuleType:
    own = dict(annotations)
    fields = {}
    for name, rank in ranks:
        array = own.get(name, Float[Array, " ".join(f"{name}_{axis}" for axis in range(rank))])
        fields[name] = array if predicted is not None and name in predicted else array | None
    result = NamedTuple("Result", list(fields.items()))

    def as_result(function: Callable, value: Any) -> Any:
        named = _named(function, value)
        return result(**{name: named.get(name) for name in fields})

    module = ModuleType(kept_as(simulate).replace("/", "."))
    vars(module).update(
        __doc__=simulate.__doc__,
        Config=kind,
        Result=result,
        TOLERANCE={},
        QUICK={},
        FUNCTIONS=tuple(filter(None, (simulate, predict))),
        as_given=unwrap,  # the config as the function takes it
        simulate=lambda key, config: as_result(simulate, simulate(key, unwrap(config))),
    )
    if predict is not None:
        module.predict = lambda config: as_result(predict, predict(unwrap(config)))  # type: ignore[attr-defined]
    return module


def source_file(function: Callable) -> Path | None:
    """The file that defines a function, or None for one typed into a session."""
    file = getattr(sys.modules.get(getattr(function, "__module__", None) or ""), "__file__", None)
    return Path(file).resolve() if file else None


def _annotations(simulate: Callable) -> tuple[tuple[str, Any], ...]:
    """The jaxtyping annotations of the NamedTuple that the function says it returns; nothing otherwise."""
    try:
        returned = typing.get_type_hints(simulate).get("return")
        hints = typing.get_type_hints(returned, include_extras=True) if hasattr(returned, "_fields") else {}
    except (NameError, TypeError):
        return ()
    return tuple((name, hint) for name, hint in hints.items() if hasattr(hint, "dim_str"))


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
