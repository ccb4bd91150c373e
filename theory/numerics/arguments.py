"""Arguments of public functions: any kind of number or array becomes a float array; shapes and ranges are checked by name.

A function under `takes` states shapes in its annotations and ranges in the decorator. Before its first line runs,

- numbers, lists, numpy and jax arrays, integers and booleans among them, become jax arrays of one floating dtype: the widest
  of the floating arrays that were given, or jax's default where there is none;
- shapes are held against the annotations, across arguments: an axis has one name and one size;
- values that are known, not traced, are held against the ranges. NaN is in no range;
- arguments annotated `int` become Python integers, those annotated `Int[np.ndarray, ..]` numpy arrays: known, not traced;
- the leaves of an argument annotated PyTree[Real[ArrayLike, ..]] are treated as arguments of their own; a list of plain
  numbers is one leaf.

An argument that does not fit raises ValueError, in one line that names the argument, what was given and what is allowed.

>>> from jaxtyping import Array, ArrayLike, Float, Real
>>> @takes(rate=above(0))
... def decay(time: Real[ArrayLike, "*time"], rate: Real[ArrayLike, ""]) -> Float[Array, "*time"]:
...     return jnp.exp(-rate * time)
>>> [round(float(value), 3) for value in decay([0, 1], 2)]
[1.0, 0.135]
>>> decay(1.0, -1.0)
Traceback (most recent call last):
ValueError: rate must be above 0, got -1.0
>>> decay(1.0, [1.0, 2.0])
Traceback (most recent call last):
ValueError: rate must be a single number, got shape (2,); vmap over further axes
"""

import functools
import inspect
import math
import operator
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from ...documented import documented

if typing.TYPE_CHECKING:
    # in a function under `takes` an argument is an array from the first line on, whatever number or list a caller gave
    ArrayLike: typing.TypeAlias = Any
else:
    from jaxtyping import ArrayLike as ArrayLike

F = TypeVar("F", bound=Callable[..., Any])

# ------------------------------------------------------------------------------------------------------------- ranges


@documented
class Range(NamedTuple):
    """An interval of legal values; an end is excluded where it is open."""

    low: int | float = -math.inf
    high: int | float = math.inf
    low_open: bool = False
    high_open: bool = False
    among: tuple[int, ...] = ()  # these alone, from low to high

    def holds(self, value: Any) -> bool:
        """Whether all values lie in the interval; NaN does not."""
        v = np.asarray(value, float)
        if self.among:
            return bool(np.isin(v, self.among).all())
        above = v > self.low if self.low_open else v >= self.low
        below = v < self.high if self.high_open else v <= self.high
        return bool(np.all(above & below))

    def __str__(self) -> str:
        if self.among:
            return " or ".join(map(str, self.among))
        ends = []
        if self.low > -math.inf:
            ends.append(f"{'above' if self.low_open else 'at least'} {self.low:g}")
        if self.high < math.inf:
            ends.append(f"{'below' if self.high_open else 'at most'} {self.high:g}")
        if self.high_open and self.high == math.inf:
            ends.append("finite")
        return " and ".join(ends) or "a number"


def at_least(low: int | float, *, finite: bool = False) -> Range:
    """low <= value; infinity is legal unless `finite`."""
    return Range(low=low, high_open=finite)


def above(low: int | float, *, finite: bool = False) -> Range:
    """low < value; infinity is legal unless `finite`."""
    return Range(low=low, low_open=True, high_open=finite)


def between(low: int | float, high: int | float, *, low_open: bool = False, high_open: bool = False) -> Range:
    """low <= value <= high; an open end is excluded."""
    return Range(low, high, low_open, high_open)


def one_of(*values: int) -> Range:
    """One of a few whole numbers, in rising order: labels -1 and 1, say."""
    return Range(values[0], values[-1], among=values)


def each(kind: Callable[..., Any], *ranges: Any, **named: Any) -> Any:
    """Ranges of the fields of a NamedTuple, in one such tuple."""
    return kind(*ranges, **named)


FINITE = Range(low_open=True, high_open=True)
ROUNDING = 1e-5  # what a correlation may exceed 1 by, as a sum of 1e4 products in float32 may: it counts as 1
CORRELATION = between(-1 - ROUNDING, 1 + ROUNDING)


def known(*values: Any) -> bool:
    """Whether these are numbers rather than tracers of a transformation.

    >>> known(1.0, [2]), bool(jax.jit(known)(1.0))
    (True, False)
    """
    return not any(isinstance(value, Tracer) for value in values)


def require(allowed: Range, **arguments: Any) -> None:
    """Raises ValueError for an argument that is known, not traced, and has a value out of range."""
    for name, value in arguments.items():
        if known(value) and not allowed.holds(value):
            raise ValueError(f"{name} must be {allowed}, got {_shown(value)}")


def require_together(condition: str, holds_fn: Callable[..., Any], **arguments: Any) -> None:
    """Raises ValueError at the first place where two arguments that are known, not traced, break a condition on both."""
    if not known(*arguments.values()):
        return
    arrays = np.broadcast_arrays(*map(np.asarray, arguments.values()))
    wrong = ~holds_fn(*arrays)
    if np.any(wrong):
        (name, value), (other, beside) = zip(arguments, (float(array[wrong][0]) for array in arrays), strict=True)
        raise ValueError(f"{name} must be {condition}, got {value} with {other} {beside}")


def require_not_empty(**arguments: Any) -> None:
    """Raises ValueError for an array with an axis of size 0."""
    for name, value in arguments.items():
        if 0 in value.shape:
            raise ValueError(f"{name} must not be empty, got shape {value.shape}")


# ---------------------------------------------------------------------------------------------------------- decorator


def takes(leading: str | None = None, /, **ranges: Any) -> Callable[[F], F]:
    """Converts and checks the arguments of the function below it, as the module says; ranges by the names of the arguments.

    All arguments take the dtype of the one named `leading`, however wide the others are: data before settings, say.
    The range of a NamedTuple of arrays is a NamedTuple of ranges (or of None).
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        strangers = set(ranges) - set(signature.parameters)
        if strangers:
            raise TypeError(f"{function.__name__} takes no argument {', '.join(sorted(strangers))}")

        @functools.cache
        def annotations() -> dict[str, Any]:
            return typing.get_type_hints(function, include_extras=True)

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            bound.arguments.update(_converted(bound.arguments, annotations(), ranges, leading))
            return function(*bound.args, **bound.kwargs)

        checked.ranges = ranges  # pyright: ignore[reportAttributeAccessIssue]
        if ranges and function.__doc__:
            checked.__doc__ = f"{inspect.cleandoc(function.__doc__)}\n\nLegal: {_said(ranges)}."
        return typing.cast(F, checked)

    return decorate


def _said(ranges: Mapping[str, Any]) -> str:
    """rate above 0; spectrum.eigenvalues at least 0; ..."""
    named: dict[str, Range] = {}
    for name, allowed in ranges.items():
        whole = isinstance(allowed, Range)
        named |= {name: allowed} if whole else {f"{name}.{part}": one for part, one in allowed._asdict().items() if one}
    return "; ".join(f"{name} {allowed}" for name, allowed in named.items())


class _Leaf(NamedTuple):
    value: Any  # a jax or numpy array: of float64 where a Python number or a (nested) list was given
    weak: bool  # it does not decide the dtype
    axes: str

    @property
    def real(self) -> Any:
        """A real number of the same precision."""
        is_complex = jnp.issubdtype(self.value.dtype, jnp.complexfloating)
        return np.zeros((), np.finfo(self.value.dtype).dtype) if is_complex else self.value

    def cast(self, dtype: Any) -> Array:
        """As an array of the floating dtype, or of the complex one of its precision."""
        is_complex = jnp.issubdtype(self.value.dtype, jnp.complexfloating)
        double = dtype == jnp.float64
        return jnp.asarray(self.value, (jnp.complex128 if double else jnp.complex64) if is_complex else dtype)


def _common_dtype(leaves: Iterable[_Leaf]) -> Any:
    with jax.numpy_dtype_promotion("standard"):  # mixed precisions are legal here, also where a caller forbids them elsewhere
        return jnp.result_type(float, *(leaf.real for leaf in leaves if not leaf.weak))


def _converted(
    arguments: Mapping[str, Any], annotations: Mapping[str, Any], ranges: Mapping[str, Any], leading: str | None
) -> dict[str, Any]:
    leaves: dict[str, _Leaf] = {}
    whole: dict[str, Any] = {}
    trees: dict[str, tuple[list[str], Any]] = {}
    for name, value in arguments.items():
        annotation: Any = annotations.get(name)
        allowed = ranges.get(name)
        axes = axes_of(annotation)
        if value is None:
            if axes is not None and type(None) not in typing.get_args(annotation):
                raise ValueError(f"{name} must be given, got None")
        elif axes is not None:
            leaves[name] = _leaf(name, value, axes, allowed, takes_complex(annotation))
        elif (axes := _axes_of_leaves(annotation)) is not None:
            parts, structure = _flattened(value)
            labels = [name + jax.tree_util.keystr(path) for path, _ in parts]
            trees[name] = labels, structure
            leaves |= {label: _leaf(label, part, axes, allowed) for label, (_, part) in zip(labels, parts, strict=True)}
        elif annotation is int or _counts(annotation):
            whole[name] = _whole(name, value) if annotation is int else _counted(name, value)
            if allowed is not None:
                require(allowed, **{name: whole[name]})
        elif _holds_arrays(annotation):
            if not isinstance(value, annotation):
                raise ValueError(f"{name} must be a {annotation.__name__}, got {_shown(value)}")
            hints = _fields(annotation)
            for field, part in zip(annotation._fields, value, strict=True):
                if part is not None and (axes := axes_of(hints[field])) is not None:
                    label = f"{name}.{field}"
                    leaves[label] = _leaf(label, part, axes, getattr(allowed, field, None))
    dtype = _common_dtype(leaves.values() if leading is None else [leaves[leading]])
    sizes: dict[str, tuple[Any, str]] = {}
    for label, leaf in leaves.items():
        _fit(label, leaf.axes, np.shape(leaf.value), sizes)
    for name, array in whole.items():
        if isinstance(array, np.ndarray):
            _fit(name, annotations[name].dim_str, array.shape, sizes)
    arrays = {label: leaf.cast(dtype) for label, leaf in leaves.items()}
    for name, (labels, structure) in trees.items():
        whole[name] = jax.tree.unflatten(structure, [arrays[label] for label in labels])
    for name, value in arguments.items():
        if name in trees:
            continue
        parts = {label.partition(".")[2]: array for label, array in arrays.items() if label.startswith(f"{name}.")}
        if parts:
            whole[name] = value._replace(**parts)
        elif name in arrays:
            whole[name] = arrays[name]
    return whole


def as_floats(*values: Any) -> list[Array]:
    """`values` as arrays of one floating dtype, that of the floating arrays among them; all else follows.

    >>> [str(value.dtype) for value in as_floats(jnp.float16(1), [1, 2], True, 0.5)]
    ['float16', 'float16', 'float16', 'float16']
    """
    leaves = [_leaf("value", value, "...", None) for value in values]
    dtype = _common_dtype(leaves)
    return [leaf.cast(dtype) for leaf in leaves]


def _leaf(name: str, value: Any, axes: str, allowed: Range | None, complex_too: bool = False) -> _Leaf:
    array, weak = value, getattr(value, "weak_type", False)  # a Python number that jit has traced
    if not isinstance(value, jax.Array):
        plain = type(value) in (bool, int, float, complex) or isinstance(value, (list, tuple))
        traced = plain and any(isinstance(part, jax.Array) for part in jax.tree.leaves(value))
        try:
            array = _stacked(value) if traced else np.asarray(value)
            if plain and not traced and array.dtype.kind != "c":
                array = array.astype(np.float64)  # also whole numbers beyond 64 bits
        except (TypeError, ValueError):
            raise ValueError(f"{name} must be numbers, got {_shown(value)}") from None
        weak = plain and not traced
    is_complex, is_real = jnp.issubdtype(array.dtype, jnp.complexfloating), array.dtype == np.bool_
    is_real |= jnp.issubdtype(array.dtype, jnp.number) and not is_complex
    if not is_real and not (is_complex and complex_too):
        raise ValueError(f"{name} must be {'' if complex_too else 'real '}numbers, got {_shown(value)} of dtype {array.dtype}")
    if allowed is not None:
        require(allowed, **{name: array})
    return _Leaf(array, weak or not jnp.issubdtype(array.dtype, jnp.inexact), axes)


def _stacked(value: Any) -> Array:
    with jax.numpy_dtype_promotion("standard"):
        return jnp.asarray(value)


def _whole(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        traced = not known(value)
        given = "a traced value: pass it as a static argument" if traced else _shown(value)
        raise ValueError(f"{name} must be a whole number, got {given}") from None


def _counted(name: str, value: Any) -> np.ndarray:
    if not known(*jax.tree.leaves(value)):
        raise ValueError(f"{name} must be whole numbers, got a traced value: pass it as a static argument")
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} must be whole numbers, got {_shown(value)}") from None
    if array.dtype.kind not in "biu" and array.size:  # an empty list is an array of floats
        raise ValueError(f"{name} must be whole numbers, got {_shown(value)}")
    return array.astype(int)


# ----------------------------------------------------------------------------------------------------- shapes by name


@functools.cache
def axes_of(annotation: Any) -> str | None:
    """The axes in the jaxtyping annotation of real (or any) numbers; None for every other annotation."""
    part = _array_type(annotation)
    return None if part is None else part.dim_str


@functools.cache
def takes_complex(annotation: Any) -> bool:
    """Whether the jaxtyping annotation allows complex numbers."""
    part = _array_type(annotation)
    return part is not None and any(str(kind).startswith("complex") for kind in part.dtypes)


def _axes_of_leaves(annotation: Any) -> str | None:
    leaf = getattr(annotation, "leaftype", None)
    return None if leaf is None else axes_of(leaf)


def _counts(annotation: Any) -> bool:
    """Whether it is Int[np.ndarray, ..]."""
    return getattr(annotation, "array_type", None) is np.ndarray and all("int" in str(kind) for kind in annotation.dtypes)


def _flattened(value: Any) -> tuple[Any, Any]:
    """Leaves with their paths, and the structure."""
    leaves = jax.tree.leaves(value)
    one = isinstance(value, list) and bool(leaves) and all(type(leaf) in (bool, int, float) for leaf in leaves)
    return jax.tree_util.tree_flatten_with_path(value, is_leaf=lambda part: one and part is value)


def _array_type(annotation: Any) -> Any:
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)  # not what a callable takes and returns
    for part in (annotation, *(typing.get_args(annotation) if union else ())):
        if hasattr(part, "dim_str") and any(str(kind).startswith("float") for kind in part.dtypes):
            return part
    return None


@functools.cache
def _holds_arrays(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, tuple) and hasattr(annotation, "_fields")


@functools.cache
def _fields(annotation: Any) -> dict[str, Any]:
    return typing.get_type_hints(annotation, include_extras=True)


def _fit(label: str, axes: str, shape: tuple[int, ...], sizes: dict[str, tuple[Any, str]]) -> None:
    """Holds a shape against the names of its axes and the sizes that earlier arguments gave to them."""
    names = axes.split()
    spread = next((i for i, name in enumerate(names) if name == "..." or name.startswith("*")), None)
    fixed = len(names) - (spread is not None)
    expected = f"({', '.join(name.replace('#', '') for name in names)}{',' if len(names) == 1 else ''})"
    if len(shape) < fixed or (spread is None and len(shape) > fixed):
        if not names:
            raise ValueError(f"{label} must be a single number, got shape {shape}; vmap over further axes")
        raise ValueError(f"{label} must have the shape {expected}, got {shape}")
    for i, name in enumerate(names):
        if i == spread:
            given: Any = shape[i : i + len(shape) - fixed]
            key, broadcast = name.lstrip("*#"), "#" in name
            if name == "..." or key.startswith("_"):
                continue
        else:
            given = shape[i if spread is None or i < spread else i - len(names)]
            key, broadcast = name.lstrip("#"), "#" in name
            if key.isdecimal() and given != int(key):
                raise ValueError(f"{label} must have the shape {expected}, got {shape}")
            if not key.isidentifier() or key.startswith("_"):
                continue
        known, origin = sizes.get(key, (given, label))
        if broadcast:
            try:
                either = np.broadcast_shapes(known, given)
            except ValueError:
                raise ValueError(f"{label} must broadcast with {origin}, got shapes {shape} and {known}") from None
            sizes[key] = either, origin
        elif known != given:
            raise ValueError(f"{label} must have the shape {expected} with {key} = {known} as in {origin}, got {shape}")
        else:
            sizes[key] = given, origin


def _shown(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
