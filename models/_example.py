"""The input of a model's `apply` is one example: a batch of them is `vmap` at the call."""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

F = TypeVar("F", bound=Callable[..., Any])


def one_example(apply: F) -> F:
    """`apply(params, x, ...)` for an x of numbers of any kind, with the axes that its annotation names; others are refused.

    Raises ValueError, in one line, for an x with further axes (or fewer), and for an axis that has the name of an axis of a
    parameter but another size.
    """
    signature = inspect.signature(apply)

    @functools.cache
    def axes_of_x() -> tuple[str, ...]:
        return tuple(typing.get_type_hints(apply, include_extras=True)["x"].dim_str.split())

    @functools.wraps(apply)
    def checked(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        params, axes = bound.arguments["params"], axes_of_x()
        x = bound.arguments["x"] = _floats(bound.arguments["x"], params)
        expected = f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"
        if x.ndim != len(axes):
            raise ValueError(f"x must be one example of shape {expected}, got {x.shape}; vmap over further axes")
        sizes = _sizes(params)
        for axis, size in zip(axes, x.shape, strict=True):
            if sizes.get(axis, size) != size:
                raise ValueError(f"x must have the shape {expected} with {axis} = {sizes[axis]}, got {x.shape}")
        return apply(*bound.args, **bound.kwargs)

    return typing.cast(F, checked)


def _floats(x: Any, params: Any) -> Array:
    """An array of floats as it is; other numbers in the precision of the parameters."""
    try:
        array = jnp.asarray(x)
    except (TypeError, ValueError):
        raise ValueError(f"x must be numbers, got {type(x).__name__}") from None
    if hasattr(x, "dtype") and jnp.issubdtype(array.dtype, jnp.floating):
        return array
    return array.astype(jnp.result_type(*jax.tree.leaves(params)))


def _sizes(params: Any) -> dict[str, int]:
    """The sizes of the axes that the annotations of a NamedTuple of arrays name; a leading one with a star may be absent."""
    found: dict[str, int] = {}
    for field, axes in _axes(type(params)).items():
        value = getattr(params, field)
        if hasattr(value, "shape"):
            found |= zip(reversed(axes), reversed(value.shape), strict=False)
    return found


@functools.cache
def _axes(kind: type) -> dict[str, list[str]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    found = {}
    for field, hint in hints.items():
        for part in (hint, *typing.get_args(hint)):
            if hasattr(part, "dim_str"):
                found[field] = [axis for axis in part.dim_str.split() if "*" not in axis]
    return found
