"""A digest of what a function computes: of its traced program and constants, not of the text that it was written in.

A refactoring that leaves the program as it is leaves the digest; a changed number, operation, shape or constant array changes
it, wherever it was written. Nothing in it depends on addresses, on names of variables or on where a line stands, so it is equal
in every process.
"""

from __future__ import annotations

import functools
import hashlib
import re
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.extend import core

from ..errors import UsageError
from . import sources

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
# parameters of an equation that do not decide a number: names, and rules for derivatives that were not taken
_NAMES = {
    "name",
    "jvp_jaxpr_fun",
    "jvp_jaxpr_thunk",
    "fwd_jaxpr_thunk",
    "bwd",
    "debug_info",
    "ctx_mesh",
    "compiler_options_kvs",
}
_PRINTING = {"debug_callback", "debug_print"}  # equations that only tell
_PLAIN = bool | int | float | complex | str | bytes | None | np.ndarray | np.generic | jax.Array
_CALLBACKS = {"pure_callback", "io_callback"}


class Undigested(UsageError):
    """A program calls a function whose sources cannot be had."""


def program_text(closed: core.ClosedJaxpr, unused: Iterable[int] = ()) -> list[str]:
    """A traced program as text; arguments in `unused` (their places) are left out, since nothing reads them."""
    gone = set(unused)
    kept = [var for place, var in enumerate(closed.jaxpr.invars) if place not in gone]
    return _lines(closed.jaxpr, list(closed.consts), kept, {})


def reads(closed: core.ClosedJaxpr) -> set[int]:
    """The places of the arguments that a program reads."""
    jaxpr = closed.jaxpr
    read = {var for equation in jaxpr.eqns for var in equation.invars if not isinstance(var, core.Literal)}
    read |= {var for var in jaxpr.outvars if not isinstance(var, core.Literal)}
    return {place for place, var in enumerate(jaxpr.invars) if var in read}


def hash_of(texts: Iterable[str]) -> str:
    """16 hexadecimal digits of some texts in order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{len(text)} {text}".encode())
    return digest.hexdigest()[:16]


def _lines(jaxpr: core.Jaxpr, constants: list[Any], arguments: list[Any], known: dict[int, list[str]]) -> list[str]:
    """A program as text: variables are numbered in the order in which they appear.

    `known` holds the text of programs inside of this one, by their addresses: one that is called often is written down once.
    """
    number: dict[Any, int] = {}
    kinds: dict[Any, str] = {}

    def shown(atom: Any) -> str:
        if isinstance(atom, core.Literal):
            return f"{_value(atom.val)}:{atom.aval.str_short()}"
        if atom not in kinds:
            kinds[atom] = f":{atom.aval.str_short()}:{getattr(atom.aval, 'weak_type', False)}"
        return f"v{number.setdefault(atom, len(number))}{kinds[atom]}"

    told = (f"{shown(var)}={_value(value)}" for var, value in zip(jaxpr.constvars, constants, strict=True))
    lines = ["constants " + " ".join(told), "arguments " + " ".join(map(shown, arguments))]
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name in _PRINTING:
            continue
        lines.append(f"{name} {' '.join(map(shown, equation.invars))}")
        for key in sorted(set(equation.params) - _NAMES):
            lines.append(f" {key}=")
            if name in _CALLBACKS and key == "callback":
                lines.append(_callback(equation.params[key]))
            else:
                lines += _parameter(equation.params[key], known)
        lines.append(" -> " + " ".join(f"v{number.setdefault(var, len(number))}" for var in equation.outvars))
    lines.append("returns " + " ".join(map(shown, jaxpr.outvars)))
    return lines


def _parameter(value: Any, known: dict[int, list[str]]) -> list[str]:
    if isinstance(value, core.ClosedJaxpr | core.Jaxpr):
        if id(value) not in known:
            jaxpr = value.jaxpr if isinstance(value, core.ClosedJaxpr) else value
            constants = list(value.consts) if isinstance(value, core.ClosedJaxpr) else [None] * len(value.constvars)
            known[id(value)] = _lines(jaxpr, constants, jaxpr.invars, known)
        return known[id(value)]
    if isinstance(value, dict):
        return [line for key in sorted(value, key=repr) for line in (f"{key!r}:", *_parameter(value[key], known))]
    if isinstance(value, set | frozenset):
        return [f"set {sorted(''.join(_parameter(entry, known)) for entry in value)}"]
    if isinstance(value, tuple | list):
        lines = [f"{type(value).__name__} {len(value)}"]
        for entry in value:
            lines += _parameter(entry, known)
        return lines
    if isinstance(value, functools.partial):
        return ["partial", *_parameter([value.func, value.args, value.keywords], known)]
    if callable(value) and not isinstance(value, type):
        return [f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"]
    return [_value(value)]


def _value(value: Any) -> str:
    """A constant by its bytes, anything else by its text without an address."""
    if isinstance(value, Tracer):  # from jax 0.12 on rules kept for derivatives may hold what was traced around them
        return f"traced {value.aval.str_short()}"
    if isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        return f"{array.dtype}{array.shape}{hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"
    return _ADDRESS.sub("", repr(value))


# --- functions that a program calls outside of itself --------------------------------------------------------------------


def _callback(function: Any) -> str:
    """A host callback by the sources that it stands in, and by the values that it holds.

    Raises `Undigested` where they cannot be had.
    """
    function = getattr(function, "callback_func", function)  # jax wraps what it was given
    if isinstance(function, functools.partial):
        inside = [_callback(function.func), *map(_held, function.args), *(_held(v) for v in function.keywords.values())]
        return f"partial {inside} {list(function.keywords)}"
    if not isinstance(function, types.FunctionType):
        name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"
        if isinstance(function, types.BuiltinFunctionType | np.ufunc) or sources.is_installed(type(function).__module__):
            return name
        raise _undigested(name)
    name = f"{function.__module__}.{function.__qualname__}"
    if sources.is_installed(function.__module__):
        return name
    path = Path(function.__code__.co_filename)
    if not path.is_file():
        raise _undigested(name)
    name = function.__qualname__  # not the module's name: launched processes import the same file under another one
    names = (name for name in function.__code__.co_names if name in function.__globals__)
    values = {name: value for name in names if isinstance(value := function.__globals__[name], _PLAIN)}
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    if function.__name__ == "<lambda>":
        name += f" {function.__code__.co_code.hex()} {function.__code__.co_consts}"
    return f"{name} {sources.digest(path)} {[_held(value) for value in [values, *cells, *defaults]]}"


def _held(value: Any) -> str:
    """A value that a callback holds."""
    if isinstance(value, _PLAIN):
        return _value(value)
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} {[_held(entry) for entry in value]}"
    if isinstance(value, dict):
        return f"dict {[(repr(key), _held(entry)) for key, entry in value.items()]}"
    if callable(value):
        return _callback(value)
    raise _undigested(repr(value)[:60])


def _undigested(name: str) -> Undigested:
    return Undigested(
        f"host callback {name}: its sources cannot be had, so its results could not be told from those of another one; "
        "allowed: a function in a file that holds plain values and arrays, or a run that keeps nothing: Settings(keep=False)"
    )
