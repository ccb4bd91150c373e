"""What a Config and an experiment declare: the range of a field as part of its type, and an allowance with its reason.

@dataclass(frozen=True)
class Config:
    width: Count = 64  # hidden units
    learning_rate: Positive = 0.1  # traced: all values of it share one compiled program
    ratio: Annotated[Positive, Static] = 2.0  # a float that fixes a shape or a branch
    scheme: Literal["rk4", "euler"] = "rk4"  # integrator
    levels: Annotated[tuple[Fraction, ...], MinLen(1), Distinct] = (0.1, 0.9)  # of the curves

    def __post_init__(self):
        check(self)  # then only what couples fields
"""

import collections.abc
import dataclasses
import enum
import functools
import math
import sys
import types
import typing
from typing import Annotated, Any, NamedTuple

from annotated_types import Ge, Gt, Le, Lt, MinLen


class Fixed(NamedTuple):
    """A float of a dict config that is static: `{"ratio": Static(2.0)}`."""

    value: float


class _Mark(NamedTuple):
    name: str


class _Static(_Mark):
    def __call__(self, value: float) -> Fixed:
        """The float, static, in a config that is a dict and has no annotations."""
        return Fixed(value)


Static = _Static("Static")  # a float that is fixed in the compiled program, as every other type is
Infinite = _Mark("Infinite")  # infinity is a value of this field; without it a number is finite
Distinct = _Mark("Distinct")  # no two entries of the tuple are equal

Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Gt(0), Lt(1)]
Probability = Annotated[float, Ge(0), Le(1)]
Precision = typing.Literal["float32", "float64"]
Plain = None | bool | int | float | str  # of a field that says no more

REFUSED = object()


class Tolerance(NamedTuple):
    """How far a mean may be off its prediction at these sizes, beyond z standard errors: relative |prediction| + absolute."""

    relative: float = 0.0
    absolute: float = 0.0
    reason: str = ""


def check(config: Any) -> None:
    """Convert every field of a frozen dataclass to its type: a list to a tuple, an int to a float where a float is meant.

    Raises ValueError in one line that names the field, what is allowed and what was given. A traced value is left as it is.
    """
    from jax.core import Tracer  # here, for commands that compute nothing

    for name, annotation in annotations(type(config)).items():
        value = getattr(config, name)
        if not isinstance(value, Tracer):
            accepted = accept(value, annotation)
            if accepted is REFUSED:
                raise ValueError(f"{name} must be {describe(annotation)}, got {value!r}")
            object.__setattr__(config, name, accepted)


@functools.cache
def annotations(kind: type) -> dict[str, Any]:
    """The types of the fields of a dataclass, with their ranges; a list of any length is a tuple of any length."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: _as_tuple(hints[field.name]) for field in dataclasses.fields(kind)}


def _as_tuple(annotation: Any) -> Any:
    """`tuple[X, ...]` for `list[X]` and `Sequence[X]`, `tuple[Plain, ...]` where entries are not told; else as it is."""
    kind, marks = unwrapped(annotation)
    origin = typing.get_origin(kind) or kind
    if origin not in (list, tuple, collections.abc.Sequence) or (origin is tuple and typing.get_args(kind)):
        return annotation
    entries = tuple[(*(typing.get_args(kind) or (Plain,)), ...)]  # type: ignore[misc]
    return Annotated[(entries, *marks)] if marks else entries  # type: ignore[return-value]


def unwrapped(annotation: Any) -> tuple[Any, tuple]:
    """The type itself, and its ranges and marks."""
    if typing.get_origin(annotation) is Annotated:
        return annotation.__origin__, annotation.__metadata__
    return annotation, ()


def is_traced(annotation: Any) -> bool:
    """Whether a compiled program takes the field as an argument: a float that is not Static."""
    kind, marks = unwrapped(annotation)
    return kind is float and Static not in marks


def accept(value: Any, annotation: Any) -> Any:
    """The value as the annotation wants it, or `REFUSED`. Raises TypeError for a type that no Config may have."""
    value = plain(value)
    kind, marks = unwrapped(annotation)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        same = (one for one in arguments if (type(one) is type(value) and one == value) or _is_named(one, value))
        return next(same, REFUSED)
    if origin in (typing.Union, types.UnionType):
        options = (accept(value, option) for option in arguments)
        return next((option for option in options if option is not REFUSED), REFUSED)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return REFUSED
        items = arguments[:1] * len(value) if arguments[-1:] == (Ellipsis,) else arguments
        if len(items) != len(value):
            return REFUSED
        entries = tuple(accept(entry, item) for entry, item in zip(value, items, strict=True))
        return REFUSED if any(entry is REFUSED for entry in entries) or not _holds(entries, marks) else entries
    if kind is types.NoneType:
        return value if value is None else REFUSED
    if dataclasses.is_dataclass(kind):
        return value if isinstance(value, kind) else REFUSED  # type: ignore[arg-type]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next((member for member in kind.__members__.values() if member is value or _is_named(member, value)), REFUSED)
    if isinstance(value, enum.Enum) and isinstance(value, kind if kind in (int, float, str) else ()):
        value = value.value  # of an IntEnum or a StrEnum, where a number or a text is wanted
    if isinstance(value, bool) or kind is bool:
        return value if isinstance(value, bool) and kind is bool else REFUSED
    if kind is float:
        if not isinstance(value, int | float) or (isinstance(value, int) and abs(value) > sys.float_info.max):
            return REFUSED
        legal = math.isfinite(value) or (Infinite in marks and value == value)
        return float(value) + 0.0 if legal and _holds(value, marks) else REFUSED  # -0.0 is 0.0
    if kind in (int, str):
        return value if isinstance(value, kind) and _holds(value, marks) else REFUSED
    raise TypeError(
        "a config holds float, int, bool, str, None, Literal, members of an Enum, tuples of these, and dataclasses of them; "
        f"not {annotation!r} (an array or a function is a constant of the file, which a word can choose)"
    )


def plain(value: Any) -> Any:
    """A number out of an array as the plain number that it is; anything else as it is."""
    of_an_array = type(value).__module__.partition(".")[0] in ("numpy", "jaxlib", "ml_dtypes")
    return value.item() if of_an_array and getattr(value, "ndim", None) == 0 else value


def _is_named(member: Any, name: Any) -> bool:
    """Whether a text is the name of a member of an Enum: so it is written in files and on the command line."""
    return isinstance(member, enum.Enum) and isinstance(name, str) and name == member.name


def _holds(value: Any, marks: tuple) -> bool:
    for mark in marks:
        match mark:
            case Ge(ge):
                holds = value >= ge
            case Gt(gt):
                holds = value > gt
            case Le(le):
                holds = value <= le
            case Lt(lt):
                holds = value < lt
            case MinLen(least):
                holds = len(value) >= least
            case _Mark("Distinct"):
                holds = len(set(value)) == len(value)
            case _:
                holds = True
        if not holds:
            return False
    return True


def describe(annotation: Any) -> str:
    """What a field of this type allows, in words.

    >>> describe(Count), describe(Positive), describe(Fraction), describe(float)
    ('a whole number of at least 1', 'a positive number', 'a number above 0 and below 1', 'a finite number')
    """
    kind, marks = unwrapped(annotation)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " or ".join(argument.name if isinstance(argument, enum.Enum) else repr(argument) for argument in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(argument) for argument in arguments)
    if origin is tuple:
        if arguments[-1:] == (Ellipsis,):
            least = next((mark.min_length for mark in marks if isinstance(mark, MinLen)), 0)
            distinct = ", no two of them equal" if Distinct in marks else ""
            return f"a list{f' of at least {least}' if least else ''}, each entry {describe(arguments[0])}{distinct}"
        return "a list of " + ", ".join(describe(argument) for argument in arguments)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return " or ".join(kind.__members__)
    noun = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", types.NoneType: "nothing"}.get(kind)
    if noun is None:
        return f"a {kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else str(kind)
    low = next((mark for mark in marks if isinstance(mark, Ge | Gt)), None)
    high = next((mark for mark in marks if isinstance(mark, Le | Lt)), None)
    if kind is float and not (low or high):
        noun = "a finite number"
    if isinstance(low, Gt) and low.gt == 0 and high is None:
        return noun.replace("a ", "a positive ", 1)
    lower = [] if low is None else [f"above {low.gt:g}" if isinstance(low, Gt) else f"of at least {low.ge:g}"]
    upper = [] if high is None else [f"below {high.lt:g}" if isinstance(high, Lt) else f"at most {high.le:g}"]
    return " ".join(filter(None, (noun, " and ".join(lower + upper), "or infinity" if Infinite in marks else "")))
