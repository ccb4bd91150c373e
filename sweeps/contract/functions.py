"""Any function `simulate(key, config)` as an experiment; the function need not know this package."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

from ...contract import Static, Tolerance
from ..errors import UsageError, nearest, shown, unknown
from . import config as config_
from . import given, sources
from .config import hashed
from .experiment import Experiment, checked, fields_of, own_functions
from .names import FILE, kept_as, parts, source_file
from .precision import KEYS, precision, wants_float64
from .returned import annotated, named
from .tracing import explained


def as_experiment(
    simulate: Callable[..., Any], config: Any, predict: Callable[[Any], Any] | None, asked_by_name: bool = False
) -> tuple[Experiment, Any]:
    """The function as an experiment, and the config as an instance of its `Config`.

    Raises `UsageError` where the function, its config or what it returns cannot be used, saying why.
    """
    if not callable(simulate):
        raise UsageError(f"experiment: got {shown(simulate)}; allowed: a name, a module, or a function simulate(key, config)")
    chosen = config_.validate(given.given(simulate, config))
    return _experiment(simulate, predict, chosen)._replace(asked_by_name=asked_by_name), chosen


def from_file(text: str) -> Any:
    """The module of a Python file, `my_paper.py`, or a function of it, `my_model.py:simulate`. The file is executed."""
    name, function = parts(text)
    path = Path(os.path.expanduser(name)).resolve()
    if path.suffix != ".py" or not path.is_file():
        what = f"got {text!r}"
        if path.suffix == ".py" and not path.exists():
            near = nearest(path.name, (file.name for file in path.parent.glob("*.py")))
            what = f"there is no file {name!r}" + (f"; nearest: {', '.join(near)}" if near else "")
        raise UsageError(f"experiment: {what}; allowed: the path of a Python file, or of one and a function (file.py:f)")
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
            guard = '; what a program does stands behind if __name__ == "__main__":' if isinstance(error, SystemExit) else ""
            raise UsageError(f"{name}: cannot be imported ({type(error).__name__}: {error}{guard})") from error
    module = sys.modules[known_as]
    if not function:
        return module
    if not callable(getattr(module, function, None)):
        raise unknown(f"function of {name}", function, own_functions(module))
    return getattr(module, function)


def _experiment(simulate: Callable, predict: Callable | None, default: Any) -> Experiment:
    floats, name = config_.traced_values(default), kept_as(simulate)
    with_config = given.takes_config(simulate, ("key",))

    def simulated(key: Any, config: Any) -> dict[str, Any]:
        return named(simulate, simulate(key, given.as_given(config)) if with_config else simulate(key))

    def ranks(traced: Mapping[str, Any]) -> dict[str, int]:
        """How many axes each array has that `simulate` returns, by name, without computing it."""
        with precision(wants_float64(default)):
            shapes = jax.eval_shape(
                lambda key, values: simulated(key, config_.with_traced(default, values)),
                jax.eval_shape(lambda: jax.random.key(0, impl=KEYS)),
                dict(traced),
            )
        return {name: leaf.ndim for name, leaf in shapes.items()}

    with explained(name, default, ranks):
        axes = ranks(floats)
    predicted = _predicted(predict, default) if predict is not None else None
    if strangers := sorted(predicted.names - set(axes)) if predicted else []:
        raise UsageError(f"predict returns {', '.join(strangers)}; simulate returns {', '.join(sorted(axes))}")
    own, kinds = annotated(simulate), {}
    for field, rank in sorted(axes.items()):
        array = own.get(field, Float[Array, " ".join(f"{field}_{axis}" for axis in range(rank))])
        kinds[field] = array if predicted and field in predicted.names else array | None
    result = NamedTuple("Result", list(kinds.items()))

    def as_result(values: dict[str, Any]) -> Any:
        return result(**{field: values.get(field) for field in kinds})

    predictions: dict[str, Callable] = {}
    if predict is not None and predicted is not None:
        predictions["prediction"] = functools.wraps(predict)(lambda config: as_result(predicted.values(config)))
    fields = fields_of(name, result, stepped=False)
    stands_in = [source_file(part) for part in (simulate, predict, type(default)) if part is not None]
    return checked(
        Experiment(
            name=name,
            Config=type(default),
            functions={"simulate": lambda key, config: as_result(simulated(key, config))},
            predictions=predictions,
            fields=fields,
            tolerance=dict.fromkeys(fields, Tolerance()),
            presets={"quick": {}},
            document=inspect.getdoc(simulate) or "",
            files=tuple(dict.fromkeys(file for file in stands_in if file is not None)),
            plain=True,
            as_given=functools.partial(given.as_given, mark=Static),
        )
    )


class _Predicted(NamedTuple):
    values: Callable[[Any], dict[str, Any]]  # of a config
    names: frozenset[str]


def _predicted(predict: Callable, default: Any) -> _Predicted:
    """A prediction, and the names of what it returns; it may want arrays or plain numbers."""
    with_config = given.takes_config(predict, ())

    def values(config: Any) -> dict[str, Any]:
        return named(predict, predict(given.as_given(config)) if with_config else predict())

    with precision(True):
        try:
            found = jax.eval_shape(lambda floats: values(config_.with_traced(default, floats)), config_.traced_values(default))
        except UsageError:
            raise
        except Exception as error:
            try:
                found = values(default)
            except Exception:
                raise error from None
    return _Predicted(values, frozenset(found))
