"""A digest of what a function computes: of its traced program and constants, not of the text that it was written in.

A refactoring that leaves the program as it is leaves the digest; a changed number, operation, shape or constant array changes
it. Nothing in it depends on addresses, on names of variables or on where a line stands, so it is equal in every process.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.extend import core

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
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
# ^ parameters of an equation that do not decide a number: names, and rules for derivatives that were not taken


def program_digest(*programs: tuple[Callable, Any, dict[str, Any]]) -> tuple[str, list[str]]:
    """The digest of some functions, each with an (abstract) argument and a dict of values, and which values they use.

    Values that no function uses are no part of the digest.
    """
    digest, used = hashlib.sha256(), set()
    for function, argument, values in programs:
        closed = jax.make_jaxpr(function)(argument, values)
        read = {var for equation in closed.jaxpr.eqns for var in equation.invars if not isinstance(var, core.Literal)}
        read |= {var for var in closed.jaxpr.outvars if not isinstance(var, core.Literal)}
        first = len(jax.tree.leaves(argument))
        mine = dict(zip(sorted(values), closed.jaxpr.invars[first:], strict=True))
        used |= {name for name, var in mine.items() if var in read}
        kept = [*closed.jaxpr.invars[:first], *(var for var in mine.values() if var in read)]
        digest.update(repr([name for name, var in mine.items() if var in read]).encode())  # which of them is which
        for text in _lines(closed.jaxpr, list(closed.consts), kept):
            digest.update(text.encode())
    return digest.hexdigest()[:16], sorted(used)


def _lines(jaxpr: core.Jaxpr, constants: list[Any], arguments: list[Any]) -> Iterator[str]:
    """A program as text: variables are numbered in the order in which they appear."""
    number: dict[Any, int] = {}

    def shown(atom: Any) -> str:
        if isinstance(atom, core.Literal):
            return f"{_value(atom.val)}:{atom.aval.str_short()}"
        return f"v{number.setdefault(atom, len(number))}:{atom.aval.str_short()}:{getattr(atom.aval, 'weak_type', False)}"

    yield "constants " + " ".join(
        f"{shown(var)}={_value(value)}" for var, value in zip(jaxpr.constvars, constants, strict=True)
    )
    yield "arguments " + " ".join(map(shown, arguments))
    for equation in jaxpr.eqns:
        yield f"{equation.primitive.name} {' '.join(map(shown, equation.invars))}"
        for key in sorted(set(equation.params) - _NAMES):
            yield f" {key}="
            yield from _parameter(equation.params[key])
        yield " -> " + " ".join(f"v{number.setdefault(var, len(number))}" for var in equation.outvars)
    yield "returns " + " ".join(map(shown, jaxpr.outvars))


def _parameter(value: Any) -> Iterator[str]:
    if isinstance(value, core.ClosedJaxpr):
        yield from _lines(value.jaxpr, list(value.consts), value.jaxpr.invars)
    elif isinstance(value, core.Jaxpr):
        yield from _lines(value, [None] * len(value.constvars), value.invars)
    elif isinstance(value, dict):
        for key in sorted(value, key=repr):
            yield f"{key!r}:"
            yield from _parameter(value[key])
    elif isinstance(value, tuple | list):
        yield f"{type(value).__name__} {len(value)}"
        for entry in value:
            yield from _parameter(entry)
    elif callable(value) and not isinstance(value, type):
        yield f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"
    else:
        yield _value(value)


def _value(value: Any) -> str:
    """A constant by its bytes, anything else by its text without an address."""
    if isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        return f"{array.dtype}{array.shape}{hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"
    return _ADDRESS.sub("", repr(value))
