"""What a function of the user's returned, as arrays by name: the fields of its `Result`."""

from __future__ import annotations

import dataclasses
import inspect
import keyword
import typing
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import UsageError, shown

ONLY = "value"  # the name of the result of a function that returns one array; of a tuple value_0, value_1, ...
_ALLOWED = "a real array or a number, a tuple of them, or a dict, a NamedTuple or a dataclass of them by name"


def named(function: Callable, value: Any) -> dict[str, Any]:
    """The arrays that a function returned, by name. Raises `UsageError` for what is none, with the way out."""
    where = getattr(function, "__name__", repr(function))
    flat = {str(name): leaf for name, leaf in _entries(value).items() if leaf is not None}
    if not flat:
        raise UsageError(
            f"{where} returns {shown(value)}, of which nothing is left to keep; is a `return` missing? allowed: {_ALLOWED}"
        )
    for name, leaf in flat.items():
        if reason := _refused(name, leaf):
            what, way_out = reason
            as_name = "" if leaf is value else f" as {name!r}"
            raise UsageError(f"{where} returns {what}{as_name}; allowed: {_ALLOWED} ({way_out})")
        if isinstance(leaf, int | np.ndarray | np.generic) and jnp.issubdtype(jnp.result_type(leaf), jnp.integer):
            limits = jnp.iinfo(jax.dtypes.canonicalize_dtype(int))
            if np.size(leaf) and not limits.min <= np.min(leaf) <= np.max(leaf) <= limits.max:
                allowed = f"whole numbers of {limits.bits} bits, or a floating-point number"
                raise UsageError(f"{where} returns {name} = {leaf!r}; allowed: {allowed}")
    return {name: leaf if hasattr(leaf, "ndim") else jnp.asarray(leaf) for name, leaf in flat.items()}


def annotated(function: Callable) -> dict[str, Any]:
    """The jaxtyping annotations of what the function says it returns, by the names of `named`; nothing without any."""
    try:
        returned = inspect.get_annotations(inspect.unwrap(function), eval_str=True).get("return")
        if typing.get_origin(returned) is tuple:
            hints = {f"{ONLY}_{index}": hint for index, hint in enumerate(typing.get_args(returned))}
        elif dataclasses.is_dataclass(returned) or hasattr(returned, "_fields") or typing.is_typeddict(returned):
            hints = typing.get_type_hints(returned, include_extras=True)
        else:
            hints = {ONLY: returned}
    except (NameError, TypeError, AttributeError, SyntaxError):
        return {}
    return {name: hint for name, hint in hints.items() if hasattr(hint, "dim_str")}


def _entries(value: Any) -> Mapping[Any, Any]:
    if hasattr(value, "_asdict"):
        return value._asdict()
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple | list):
        return {f"{ONLY}_{index}": entry for index, entry in enumerate(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (field for field in dataclasses.fields(value) if not _is_metadata(field))
        return {field.name: getattr(value, field.name) for field in fields}
    return {ONLY: value}


def _is_metadata(field: dataclasses.Field) -> bool:
    """Whether a field is no array but belongs to the structure: of a flax struct, and of `jax.tree_util.register_dataclass`."""
    return not field.metadata.get("pytree_node", True) or bool(field.metadata.get("static", False))


def _refused(name: str, leaf: Any) -> tuple[str, str] | None:
    """What cannot be kept, in words, and what to return in its place; None for a real array or a number."""
    if not name.isidentifier() or name.startswith("_") or keyword.iskeyword(name):
        return "a result", "a name is made of letters, digits and _, begins with a letter and is no word of Python"
    if isinstance(leaf, int | float):
        return None
    if isinstance(leaf, str | bytes):
        return f"the text {shown(leaf)}", "a text has no mean over seeds: return a number, such as its place in a list"
    if isinstance(leaf, Mapping | tuple | list) or dataclasses.is_dataclass(leaf):
        return f"a value of type {type(leaf).__name__}", "one level: give each array a name of its own"
    if not (hasattr(leaf, "ndim") and hasattr(leaf, "dtype")):
        if inspect.iscoroutine(leaf):
            leaf.close()
        return f"a value of type {type(leaf).__name__}", "an ordinary function, which returns what it has computed"
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return "a key", "a key is no number; jax.random.key_data gives its bits"
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating) or leaf.dtype == complex:
        return "complex numbers", "return real and imaginary parts by name"
    if any(jnp.issubdtype(leaf.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        return None
    return f"an array of {leaf.dtype}", "convert it to a float"
