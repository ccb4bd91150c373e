"""Any function `simulate(key, config)` as an experiment; the function need not know this package."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...contract import Tolerance
from ..errors import UsageError, unknown
from . import config as config_
from . import sources
from .config import hashed
from .experiment import Experiment, checked, fields_of
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
        kinds = tuple((name, _kind(name, value)) for name, value in given.items())
        made = _from_dict(kinds)
        chosen, unwrap = made(**given), _as_dict
    else:
        chosen, unwrap = given, _unchanged
    config_.validate(chosen)
    return _experiment(simulate, predict, type(chosen), chosen, unwrap)._replace(asked_by_name=asked_by_name), chosen


def from_file(text: str) -> Any:
    """The module of a Python file, `my_paper.py`, or a function of it, `my_model.py:simulate`. The file is executed."""
    name, colon, function = text.partition(":")
    path = Path(name).resolve()
    if path.suffix != ".py" or not path.is_file():
        raise UsageError(f"experiment: got {text!r}; allowed: the path of a Python file, or of one and a function (file.py:f)")
    known_as, named = path.stem, sys.modules.get(path.stem)
    if known_as in sys.stdlib_module_names or (named is not None and getattr(named, "__file__", None) != str(path)):
        known_as = f"{path.stem}_{hashed(str(path), 8)}"  # a file may be called random.py
    if known_as not in sys.modules:
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))  # it finds what lies beside it
        specification = importlib.util.spec_from_file_location(known_as, path)
        assert specification is not None
        assert specification.loader is not None
        module = sys.modules[known_as] = importlib.util.module_from_spec(specification)
        try:
            with sources.watched():
                specification.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[known_as]
            raise UsageError(f"{name}: cannot be imported ({type(error).__name__}: {error})") from error
    module = sys.modules[known_as]
    if not colon:
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


def _kind(name: str, value: Any) -> type:
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind
    if isinstance(value, tuple | list) and value:
        return tuple[_kind(name, value[0]), ...]  # type: ignore[return-value]
    raise UsageError(f"config.{name}: got {value!r}; allowed: a float, an int, a bool, a text, or a tuple of these")


@functools.lru_cache(maxsize=256)
def _from_dict(kinds: tuple[tuple[str, type], ...]) -> type:
    return dataclasses.make_dataclass("Config", kinds, frozen=True)


def _as_dict(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def _unchanged(config: Any) -> Any:
    return config


def _experiment(simulate: Callable, predict: Callable | None, kind: type, default: Any, unwrap: Callable) -> Experiment:
    floats = config_.traced_values(default)

    def shapes(function: Callable, *lead: Any) -> Any:
        """What the function returns, by name, without computing it."""
        wanted = jax.eval_shape(lambda *a: function(*a[:-1], unwrap(config_.with_traced(default, a[-1]))), *lead, floats)
        return _named(function, wanted)

    def predicted_names(predict: Callable) -> frozenset[str]:
        try:
            return frozenset(shapes(predict))
        except UsageError:
            raise
        except Exception as error:
            try:  # it wants plain numbers
                return frozenset(_named(predict, predict(unwrap(default))))
            except Exception:
                raise error from None

    with precision(wants_float64(default)):
        ranks = {name: leaf.ndim for name, leaf in shapes(simulate, jax.random.key(0, impl=KEYS)).items()}
    with precision(True):
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
        return result(**{name: _floating(named[name]) if name in named else None for name in kinds})

    predictions: dict[str, Callable] = {}
    if predict is not None:
        predictions["prediction"] = functools.wraps(predict)(lambda config: as_result(predict, predict(unwrap(config))))
    name = _name(simulate).replace(".", "/")
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


def _name(simulate: Callable) -> str:
    """<file>.<function>: where its results are kept; the same for a script that is run and for a module that is imported."""
    file = source_file(simulate)
    name = getattr(simulate, "__qualname__", type(simulate).__name__).replace("<locals>.", "").replace("<lambda>", "lambda")
    return f"{file.stem if file else 'interactive'}.{name}"


def source_file(function: Callable) -> Path | None:
    """The file that defines a function, or None for one typed into a session."""
    file = getattr(sys.modules.get(getattr(function, "__module__", None) or ""), "__file__", None)
    return Path(file).resolve() if file else None


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
        real = hasattr(leaf, "ndim") and not jnp.issubdtype(leaf.dtype, jnp.complexfloating)
        if not name.isidentifier() or not (real or isinstance(leaf, int | float)):
            where = getattr(function, "__name__", repr(function))
            allowed = "a real array, or a dict or NamedTuple of them by name (no nesting)"
            raise UsageError(f"{where} returns {name} = {leaf!r}; allowed: {allowed}")
    return {name: leaf if hasattr(leaf, "ndim") else jnp.asarray(leaf) for name, leaf in flat.items()}


def _floating(leaf: Any) -> Any:
    """Results are floating-point; whole numbers and truth values become float32."""
    return leaf if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.astype(jnp.float32)
