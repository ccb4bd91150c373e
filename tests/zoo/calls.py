"""Typical calls of public functions of theory, and what must hold of each of them at every legal argument.

A test file of theory exports `CALLS`, at least one `Call` of each public function of its module. The function itself says what
is legal (`takes`: shapes in annotations, ranges in the decorator); a call adds typical values, further cases that matter, how
the result scales, and how to draw random arguments that hang together.
"""

import functools
import inspect
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from closedform.theory.numerics.arguments import Range, axes_of, takes, takes_complex

SCALES = (1e-12, 1e12)


@dataclass(frozen=True)
class Call:
    """One typical call. Floats and numpy arrays of floats are the numbers of the call; all else is static."""

    function: Callable
    arguments: Mapping[str, Any]
    of: Callable | None = None  # the public function that this is a call of, where `function` wraps its result
    label: str = ""  # tells two calls of one function apart
    edges: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # legal values of one argument, for its range's ends
    cases: Sequence[Mapping[str, Any]] = ()  # further legal values of several arguments together
    scaling: Mapping[str, float] = field(default_factory=dict)  # f(s^p x) = s^degree f(x): the power p of each argument
    degree: float | Sequence[float] = 0.0  # the same for all leaves of the result, or one for each
    scales: Sequence[float] = SCALES
    draw: Callable[[np.random.Generator], Mapping[str, Any]] | None = None  # random legal arguments; by default each alone
    directions: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = field(default_factory=dict)
    # ^ a random legal direction of an array whose entries hang together (a symmetric matrix, a unit vector)
    fixed: Sequence[str] = ()  # arguments in which there is no derivative, with the reason in a comment
    kinks: Sequence[str] = ()  # labels of cases at which the function has a kink: no derivative is asked for
    differentiable: bool = True
    rounding: float = 1.0  # allowed error of float32 over the house's, with the reason in a comment
    single: Callable[[Mapping[str, Any]], bool] = lambda arguments: True  # where float32 is promised: ranges of the docstring

    @property
    def name(self) -> str:
        function = self.of or self.function
        module = function.__module__.removeprefix("closedform.theory.")
        return f"{module}.{function.__name__}" + (f"[{self.label}]" if self.label else "")


@dataclass(frozen=True)
class Case:
    label: str
    arguments: dict[str, Any]


# ---------------------------------------------------------------------------------------------------------------- cases


def ranges_of(call: Call) -> dict[str, Range]:
    """Ranges of single arguments, and of fields of NamedTuples as name.field."""
    found: dict[str, Range] = {}
    for name, allowed in getattr(call.function, "ranges", {}).items():
        if isinstance(allowed, Range):
            found[name] = allowed
        else:
            found |= {f"{name}.{part}": one for part, one in allowed._asdict().items() if one is not None}
    return found


def _parts(name: str, value: Any) -> dict[str, Any]:
    """The numbers in an argument: itself, or the fields of a NamedTuple as name.field."""
    if isinstance(value, (float, np.ndarray)):
        return {name: value}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = ((f"{name}.{part}", one) for part, one in value._asdict().items())
        return {label: one for label, one in fields if isinstance(one, (float, np.ndarray))}
    return {}


def numbers(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {label: part for name, value in arguments.items() for label, part in _parts(name, value).items()}


def with_numbers(arguments: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with some of their numbers replaced."""
    changed = dict(arguments)
    for label, value in values.items():
        name, _, part = label.partition(".")
        changed[name] = changed[name]._replace(**{part: value}) if part else value
    return changed


def _edge_values(allowed: Range, typical: Any) -> list[float]:
    """The ends of a range, points close to them, and infinity where it is legal; in the size of the typical value."""
    if allowed.among:
        return list(map(float, allowed.among))
    size = float(np.max(np.abs(typical))) or 1.0
    low, high, values = float(allowed.low), float(allowed.high), []
    if math.isfinite(low):
        values += [low + 1e-9 * size] if allowed.low_open else [low, low + 1e-9 * size]
    if math.isfinite(high):
        values += [high - 1e-9 * size] if allowed.high_open else [high, high - 1e-9 * size]
    elif not allowed.high_open:
        values += [math.inf]
    return [float(value) for value in values]


def edge_cases(call: Call) -> list[Case]:
    cases = []
    typical, ranges = numbers(call.arguments), ranges_of(call)
    for label, value in typical.items():
        if label in call.edges:
            extra = list(call.edges[label])
        else:
            extra = _edge_values(ranges[label], value) if label in ranges else []
        for edge in extra:
            if np.ndim(value) == 0 or np.ndim(edge):
                cases.append(Case(f"{label}={np.array2string(np.asarray(edge), threshold=4)}", {label: edge}))
            else:
                one = np.array(value, float)
                one.flat[0] = edge
                cases.append(Case(f"{label}[0]={edge}", {label: one}))
                cases.append(Case(f"{label}={edge}", {label: np.full_like(one, edge)}))
        if np.ndim(value) == 1 and len(value) > 1 and label not in (*call.directions, *call.edges):
            cases.append(Case(f"{label} repeated", {label: np.full_like(value, value[0])}))
    cases += [Case(f"case {i}", dict(case)) for i, case in enumerate(call.cases)]
    return [Case(case.label, with_numbers(call.arguments, case.arguments)) for case in cases]


def scaled_cases(call: Call) -> list[Case]:
    if not call.scaling:
        return []
    typical = numbers(call.arguments)
    unknown = set(call.scaling) - set(typical)
    assert not unknown, f"scaling names {unknown}, numbers are {set(typical)}"
    return [
        Case(f"scale {s:g}", with_numbers(call.arguments, {n: np.asarray(typical[n]) * s**p for n, p in call.scaling.items()}))
        for s in call.scales
    ]


def random_cases(call: Call, count: int, seed: int = 0) -> list[Case]:
    rng = np.random.default_rng(seed)
    cases = []
    for i in range(count):
        if call.draw is not None:
            values = dict(call.draw(rng))
        else:
            values = {label: _drawn(value, ranges_of(call).get(label, Range()), rng)
                      for label, value in numbers(call.arguments).items() if label not in call.directions}  # fmt: skip
        cases.append(Case(f"random {i}", with_numbers(call.arguments, values)))
    return cases


def _drawn(typical: Any, allowed: Range, rng: np.random.Generator) -> np.ndarray:
    """Around the typical value, each entry by a factor of its own between 1/100 and 100, within the range."""
    value = np.asarray(typical, float)
    if allowed.among:
        return rng.choice(allowed.among, value.shape).astype(float)
    factor = 10.0 ** rng.uniform(-2, 2, value.shape)
    if math.isfinite(allowed.low) and math.isfinite(allowed.high):
        return rng.uniform(allowed.low, allowed.high, value.shape)
    if math.isfinite(allowed.low):
        above = value - allowed.low
        return allowed.low + np.where(above == 0, 1, above) * factor
    return value * factor


# ------------------------------------------------------------------------------------------------------------- programs


def _leaves(result: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(result) if hasattr(leaf, "dtype")]


def _floating(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


class Answer(NamedTuple):
    """Of a batch of cases. What is said of a leaf is said of a random combination of its entries that are finite."""

    out: list[np.ndarray]  # the leaves, an axis of cases first
    sums: np.ndarray  # leaf case
    slopes: np.ndarray  # leaf case: along the directions asked for; NaN where a derivative that counts is NaN
    condition: np.ndarray  # leaf case: sum |x_k df/dx_k|, what relative errors of the arguments, as large as 1, do


Directions = Sequence[Mapping[str, np.ndarray]]  # for each case a direction of each number


class _Values:
    """The call as one compiled function of its numbers, for many cases at once."""

    def __init__(self, call: Call, dtype: Any):
        self.call, self.dtype, self.labels = call, dtype, list(numbers(call.arguments))
        self.run = jax.jit(jax.vmap(self.program))

    def leaves(self, parts: Sequence[Any]) -> list[Any]:
        return _leaves(self.call.function(**with_numbers(self.call.arguments, dict(zip(self.labels, parts, strict=True)))))

    def program(self, parts: Sequence[Any]) -> tuple[list[Any], Any]:
        return self.leaves(parts), None

    def stacked(self, values: Sequence[Mapping[str, Any]]) -> list[Any]:
        return [jnp.asarray(np.stack([np.asarray(one[n], float) for one in values]), self.dtype) for n in self.labels]

    def __call__(self, cases: Sequence[Case], *directions: Directions) -> tuple[list[np.ndarray], Any]:
        points = [numbers(case.arguments) for case in cases]
        return jax.tree.map(np.asarray, self.run(*map(self.stacked, (points, *directions))))

    def answer(self, cases: Sequence[Case], directions: Directions) -> Answer:
        out, _ = self(cases)
        none = np.zeros((len(out), len(cases)))
        return Answer(out, _combined(out, out), none, none)


def _combined(out: Sequence[Any], values: Sequence[Any]) -> np.ndarray:
    """One random combination of the entries of each leaf of `values`, of those that are finite in `out`: leaf case."""
    rng, sums = np.random.default_rng(1), []
    for leaf, value in zip(out, values, strict=True):
        weight = rng.uniform(0.5, 1, leaf.shape[1:]) * rng.choice([-1, 1], leaf.shape[1:])
        counts = np.isfinite(leaf) if _floating(leaf) else np.zeros(leaf.shape, bool)
        sums.append(np.where(counts, weight * np.where(counts, value, 0), 0).reshape(len(leaf), -1).sum(1))
    return np.stack(sums)


def _nowhere(case: Case) -> dict[str, np.ndarray]:
    return {label: np.zeros(np.shape(value)) for label, value in numbers(case.arguments).items()}


class _Forward(_Values):
    """With the slope of each leaf along one direction a case."""

    def __call__(self, cases: Sequence[Case], *directions: Directions) -> tuple[list[np.ndarray], Any]:
        return super().__call__(cases, *(directions or [[_nowhere(case) for case in cases]]))

    def program(self, parts: Sequence[Any], directions: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        out, tangents = jax.jvp(self.leaves, (parts,), (directions,))
        return out, [tangent if _floating(leaf) else jnp.zeros(leaf.shape) for leaf, tangent in zip(out, tangents, strict=True)]

    def answer(self, cases: Sequence[Case], directions: Directions) -> Answer:
        out, tangents = self(cases, directions)
        slopes = _combined(out, tangents)
        # 0 times a slope at infinity is NaN: where an argument is infinite, the reverse mode of the slow tier tells them apart
        beyond = [not all(np.all(np.isfinite(value)) for value in numbers(case.arguments).values()) for case in cases]
        slopes[np.isnan(slopes) & beyond] = np.inf
        return Answer(out, _combined(out, out), slopes, self._condition(cases, out))

    def _condition(self, cases: Sequence[Case], out: Sequence[Any]) -> np.ndarray:
        """The slope in one number after the other; of the entries of an array the sum with random signs, at its largest."""
        rng, total = np.random.default_rng(2), np.zeros((len(out), len(cases)))
        for label in self.labels:
            largest = np.zeros_like(total)
            for _ in range(1 if np.ndim(numbers(self.call.arguments)[label]) == 0 else 4):
                along = []
                for case in cases:
                    x = np.asarray(numbers(case.arguments)[label], float)
                    signs = rng.choice([-1, 1], x.shape) * math.sqrt(x.size)
                    along.append(_nowhere(case) | {label: np.where(np.isfinite(x), x, 0) * signs})
                slopes = np.abs(_combined(out, self(cases, along)[1]))
                largest = np.maximum(largest, np.where(np.isfinite(slopes), slopes, 0))
            total += largest
        return total


class _Reverse(_Values):
    """With the slopes of each leaf in all numbers."""

    def program(self, parts: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        def sums(parts: Sequence[Any]) -> tuple[list[Any], list[Any]]:
            rng, out = np.random.default_rng(1), self.leaves(parts)
            weights = [rng.uniform(0.5, 1, leaf.shape) * rng.choice([-1, 1], leaf.shape) for leaf in out]
            pairs = zip(weights, out, strict=True)
            return [one(weight, leaf) if _floating(leaf) else jnp.zeros((), self.dtype) for weight, leaf in pairs], out

        def one(weight: Any, leaf: Any) -> Any:
            return jnp.sum(jnp.asarray(weight, self.dtype) * jnp.where(jnp.isfinite(leaf), leaf, 0))

        _, pull, out = jax.vjp(sums, parts, has_aux=True)
        return out, [pull([jnp.asarray(one, self.dtype) for one in unit])[0] for unit in np.eye(len(out))]

    def answer(self, cases: Sequence[Case], directions: Directions) -> Answer:
        out, jacobian = self(cases)
        slopes, condition = np.zeros((2, len(out), len(cases)))
        for leaf, by_number in enumerate(jacobian):
            for label, gradients in zip(self.labels, by_number, strict=True):
                for i, (case, direction) in enumerate(zip(cases, directions, strict=True)):
                    d, x = direction[label], np.abs(np.asarray(numbers(case.arguments)[label], float))
                    slopes[leaf, i] += np.sum(np.where(d != 0, gradients[i], 0) * d)
                    size = np.abs(gradients[i])
                    condition[leaf, i] += np.sum(np.where(np.isfinite(x) & np.isfinite(size), x * size, 0))
        return Answer(out, _combined(out, out), slopes, condition)


# --------------------------------------------------------------------------------------------------------------- checks


@np.errstate(all="ignore")
def problems(call: Call, num_random: int = 8, *, thorough: bool = False, seed: int = 0) -> list[str]:
    """All that is wrong with a function, one line each. To be run under x64.

    Two programs are compiled, one in each precision; forward mode gives the slopes. `thorough` compiles many more: the function
    eagerly, for each kind of number, for single entries of an array, and in reverse mode.
    """
    found = _refusals(call)
    if not numbers(call.arguments):
        return found + _static(call)
    typical = Case("typical", dict(call.arguments))
    cases = [typical, *edge_cases(call), *scaled_cases(call), *random_cases(call, num_random, seed)]
    rng = np.random.default_rng(7)
    moves = [_direction(call, case, rng) for case in cases]
    slopes = _Reverse if thorough else _Forward
    double = (slopes if call.differentiable else _Values)(call, jnp.float64)
    answer = double.answer(cases, [direction for direction, _ in moves])
    found += _kinds(call, typical, call.function) if thorough else _conversions(call, typical)
    found += _constants(call)
    found += _no_nan(cases, answer.out)
    if thorough:
        found += _like_eager(call, cases, answer) + _pointwise(call, answer)
    found += _homogeneous(call, cases, answer.out)
    found += _single(call, cases, double)
    if call.differentiable:
        found += _slopes(call, cases, moves, double, answer)
    return found


def _constants(call: Call) -> list[str]:
    """As a part of a program whose constants its arguments are: checks of known values must not trace."""

    def as_jax(leaf: Any) -> Any:
        return jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf

    arguments = {name: jax.tree.map(as_jax, value) for name, value in call.arguments.items()}
    try:
        jax.eval_shape(lambda: call.function(**arguments))
    except jax.errors.JAXTypeError as error:
        return [f"with known arguments inside a program: {type(error).__name__}"]
    return []


def _static(call: Call) -> list[str]:
    """A function of static arguments alone: finite, and in the default precision."""
    found = []
    for x64, wanted in ((True, "float64"), (False, "float32")):
        with jax.enable_x64(x64):
            leaves = _leaves(call.function(**call.arguments))
        found += [f"dtype {leaf.dtype} with x64 {x64}" for leaf in leaves if leaf.dtype not in (wanted, "int32", "int64")]
        found += ["not finite" for leaf in leaves if not np.all(np.isfinite(leaf))]
    return found


def _no_nan(cases: Sequence[Case], out: Any) -> list[str]:
    found = []
    for i, case in enumerate(cases):
        if any(np.isnan(leaf[i]).any() for leaf in out):
            found.append(f"{case.label}: NaN in {[np.round(leaf[i], 4).ravel()[:8].tolist() for leaf in out]} ({_brief(case)})")
    if not all(np.isfinite(leaf[0]).all() for leaf in out):
        found.append("typical: not finite")
    return found


def _size(leaf: Any) -> float:
    return float(np.max(np.abs(leaf), initial=0.0, where=np.isfinite(leaf)))


def _differs(a: Any, b: Any, allowed: float) -> bool:
    a, b = np.asarray(a, float), np.asarray(b, float)
    finite = np.isfinite(a) & np.isfinite(b)
    near = np.abs(np.where(finite, a, 0) - np.where(finite, b, 0)) <= allowed
    return not np.all(np.where(finite, near, (a == b) | (np.isnan(a) & np.isnan(b))))


def _like_eager(call: Call, cases: Sequence[Case], answer: Answer) -> list[str]:
    """Compiled and vmapped against one call after the other, by hand."""
    found = []
    for i, case in list(enumerate(cases))[:4]:
        try:
            eager = _leaves(call.function(**case.arguments))
        except Exception as error:
            found.append(f"{case.label}: eager raises {_said(error)}")
            continue
        for k, (one, batch) in enumerate(zip(eager, answer.out, strict=True)):
            allowed = 1e-9 * (_size(batch[i]) + answer.condition[k, i])
            if _differs(one, batch[i], allowed):
                found.append(f"{case.label}: eager {np.asarray(one).ravel()[:4]}, vmapped {batch[i].ravel()[:4]}")
    return found


def _pointwise(call: Call, answer: Answer) -> list[str]:
    """An array of times (or of anything that broadcasts) against one after the other; its axis is the first or the last."""
    values = numbers(call.arguments)
    free = {n: v for n, v in values.items() if np.ndim(v) == 1 and (axes_of(_annotation(call, n)) or "").startswith("*")}
    free = {n: v for n, v in free.items() if len((axes_of(_annotation(call, n)) or "").split()) == 1}
    if not free or not all(leaf[0].ndim for leaf in answer.out):
        return []
    found = []
    for i in range(min(len(v) for v in free.values())):
        alone = _leaves(call.function(**with_numbers(call.arguments, {n: float(v[i]) for n, v in free.items()})))
        for k, (one, leaf) in enumerate(zip(alone, answer.out, strict=True)):
            allowed = 1e-8 * (_size(leaf[0]) + answer.condition[k, 0])
            axis = next((a for a in (0, -1) if np.take(leaf[0], i, a).shape == one.shape), None)
            if axis is None or _differs(one, np.take(leaf[0], i, axis), allowed):
                found.append(f"entry {i} of {', '.join(free)} alone: {np.ravel(one)[:4]}, in the array {leaf[0].ravel()[:6]}")
    return found


def _conversions(call: Call, typical: Case) -> list[str]:
    """The kinds of numbers, as far as a function under `takes` can tell them apart: all reach its first line the same."""
    if not hasattr(call.function, "ranges"):
        return []

    @takes(**call.function.ranges)
    @functools.wraps(inspect.unwrap(call.function))
    def given(*args: Any, **kwargs: Any) -> Any:
        return [leaf for leaf in jax.tree.leaves((args, kwargs)) if isinstance(leaf, jax.Array)]

    if len(given(**typical.arguments)) < len(numbers(typical.arguments)):  # some are converted further down
        return []
    return _kinds(call, typical, given)


def _kinds(call: Call, typical: Case, function: Callable) -> list[str]:
    """Lists, numpy and jax arrays, integers, booleans and both precisions give the same numbers."""
    found = []
    values = numbers(typical.arguments)
    with jax.enable_x64(False):
        for kind, cast in (("numpy", np.float32), ("jax", lambda v: jnp.asarray(v, jnp.float32))):
            leaves = _leaves(function(**with_numbers(typical.arguments, {n: cast(v) for n, v in values.items()})))
            wrong = {str(leaf.dtype) for leaf in leaves} - {"float32", "int32", "bool"}
            found += [f"results of float32 arrays of {kind} are {wrong}"] if wrong else []
    lists = with_numbers(typical.arguments, {n: np.asarray(v).tolist() for n, v in values.items()})
    arrays = with_numbers(typical.arguments, {n: jnp.asarray(v, float) for n, v in values.items()})
    found += _same(function, "lists", lists, _leaves(function(**arrays)))
    for integer in (int, bool):
        for label, value in values.items():
            rounded = np.asarray(value).round() if integer is int else np.ones(np.shape(value))
            whole = rounded.astype(integer) if np.ndim(value) else integer(rounded)
            try:  # rounding may leave the range
                expected = _leaves(function(**with_numbers(typical.arguments, {label: jnp.asarray(rounded, float)})))
            except ValueError:
                continue
            arguments = with_numbers(typical.arguments, {label: whole})
            found += _same(function, f"{label} as {integer.__name__}", arguments, expected)
    return found


def _same(function: Callable, kind: str, arguments: Mapping[str, Any], expected: Sequence[Any]) -> list[str]:
    try:
        given = _leaves(function(**arguments))
    except Exception as error:
        return [f"{kind}: raises {_said(error)}"]
    for one, other in zip(given, expected, strict=True):
        if one.dtype != other.dtype or _differs(one, other, 1e-12 * _size(np.asarray(other))):
            shown = f"{np.asarray(other).ravel()[:4]} ({other.dtype})"
            return [f"{kind}: {np.asarray(one).ravel()[:4]} ({one.dtype}), as floats {shown}"]
    return []


def _homogeneous(call: Call, cases: Sequence[Case], out: Any) -> list[str]:
    found = []
    degrees = [call.degree] * len(out) if isinstance(call.degree, (int, float)) else list(call.degree)
    for i, case in enumerate(cases):
        if case.label.startswith("scale "):
            s = float(case.label.removeprefix("scale "))
            for degree, leaf in zip(degrees, out, strict=True):
                expected = leaf[0] * s**degree
                if _differs(leaf[i], expected, 1e-8 * _size(expected)):
                    found.append(f"{case.label}: {leaf[i].ravel()[:4]}, by homogeneity {expected.ravel()[:4]}")
    return found


def _single(call: Call, cases: Sequence[Case], double: _Values) -> list[str]:
    """float32 against float64 at the same (float32) arguments, within what their rounding explains."""
    rounded = []
    for case in cases:
        values = {label: np.float32(value).astype(float) for label, value in numbers(case.arguments).items()}
        one = Case(case.label, with_numbers(case.arguments, values))
        if call.single(one.arguments) and _legal(call, one):
            rounded.append(one)
    if not rounded:
        return []
    padded = rounded + rounded[:1] * (len(cases) - len(rounded))
    answer = double.answer(padded, [_nowhere(case) for case in padded])
    with jax.enable_x64(False):
        single, _ = _Values(call, jnp.float32)(padded)
    wrong = {str(leaf.dtype) for leaf in single} - {"float32", "int32", "bool"}
    found, eps = [f"results of float32 are {wrong}"] if wrong else [], float(np.finfo(np.float32).eps)
    for i, case in enumerate(rounded):
        for k, (one, exact) in enumerate(zip(single, answer.out, strict=True)):
            allowed = 256 * call.rounding * eps * (_size(exact[i]) + answer.condition[k, i]) + 1e-30
            kept = exact[i].astype(np.float32) if _floating(exact) else exact[i]
            if _differs(one[i], kept, allowed):
                shown = f"float32 {one[i].ravel()[:4]}, float64 {exact[i].ravel()[:4]}, allowed {allowed:.1e}"
                found.append(f"{case.label}: {shown} ({_brief(case)})")
    return found


def _legal(call: Call, case: Case) -> bool:
    values = numbers(case.arguments)
    return all(allowed.holds(values[label]) for label, allowed in ranges_of(call).items() if label in values)


def _brief(case: Case) -> str:
    shown = {n: np.array2string(np.asarray(v), precision=6, threshold=5) for n, v in numbers(case.arguments).items()}
    return " ".join(", ".join(f"{n}={v}" for n, v in shown.items()).split())


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"


def _direction(call: Call, case: Case, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], bool]:
    """A random direction that stays legal, in units of the arguments; and whether only one side of the point is legal."""
    ranges, typical, one_sided = ranges_of(call), numbers(call.arguments), False
    direction = {}
    for label, value in numbers(case.arguments).items():
        x = np.asarray(value, float)
        allowed = ranges.get(label, Range())
        if label in call.fixed or allowed.among:
            direction[label] = np.zeros_like(x)
            continue
        if label in call.directions:
            direction[label] = call.directions[label](x, rng)
            continue
        below, above = x - allowed.low, allowed.high - x
        reach = np.minimum(np.where(below > 0, below, np.inf), np.where(above > 0, above, np.inf))
        usual = np.max(np.abs(x), initial=0, where=np.isfinite(x)) or np.max(np.abs(typical[label])) or 1.0
        size = np.minimum(np.where(x != 0, np.abs(x), usual), reach)
        step = np.where(np.isfinite(x), size, 0) * rng.uniform(0.5, 1, x.shape) * rng.choice([-1, 1], x.shape)
        step = np.where(x == allowed.low, np.abs(step), np.where(x == allowed.high, -np.abs(step), step))
        one_sided |= bool(np.any(np.isfinite(x) & ((x == allowed.low) | (x == allowed.high))))
        direction[label] = step
    return direction, one_sided


def _slopes(
    call: Call, cases: Sequence[Case], moves: Sequence[tuple[dict[str, np.ndarray], bool]], double: _Values, answer: Answer
) -> list[str]:
    """Slopes along a random direction against differences, which are one-sided at the ends of ranges.

    Of four steps one must agree, or the differences converge to the slope. Where differences grow without bound as the step
    falls, the slope is infinite, and what is returned for it is the function's choice, but not NaN.
    """
    found, directions = [], [direction for direction, _ in moves]

    def shifted(h: float) -> np.ndarray:
        moved = []
        for case, direction in zip(cases, directions, strict=True):
            values = {n: np.asarray(v, float) + h * direction[n] for n, v in numbers(case.arguments).items()}
            moved.append(Case("", with_numbers(case.arguments, values)))
        out, _ = double(moved)
        return _combined(out, out)

    steps = (1e-3, 1e-5, 1e-6, 1e-8)
    forth, twice, back = ({h: shifted(factor * h) for h in steps} for factor in (1, 2, -1))
    for i, case in enumerate(cases):
        if case.label in call.kinks:
            continue
        for leaf, value in enumerate(answer.out):
            if not _floating(value) or not np.all(np.isfinite(value[i])):
                continue
            slope = answer.slopes[leaf, i]
            if np.isnan(slope):
                found.append(f"{case.label}: NaN gradient of leaf {leaf} ({_brief(case)})")
                continue
            size = _size(value[i]) * value[i].size
            differences, agrees = [], False
            for h in steps:
                start, one, two, before = answer.sums[leaf, i], forth[h][leaf, i], twice[h][leaf, i], back[h][leaf, i]
                difference = float((4 * one - two - 3 * start) / (2 * h) if moves[i][1] else (one - before) / (2 * h))
                differences.append(difference)
                noise = 1e-14 * size + 1e-15 * answer.condition[leaf, i]  # arguments are rounded when they are shifted
                allowed = 1e-4 * max(abs(slope), abs(difference)) + noise / h + 1e-60
                agrees |= math.isfinite(difference) and abs(difference - slope) <= allowed
            sizes, errors = np.abs(differences), np.abs(np.array(differences) - slope)
            agrees |= bool(errors[-1] <= 0.01 * errors[0])
            if not agrees and not np.all(sizes[1:] > 1.5 * sizes[:-1]):
                shown = ", ".join(f"{d:.6g}" for d in differences)
                found.append(f"{case.label}: slope {slope:.6g} of leaf {leaf}, by differences {shown} ({_brief(case)})")
    return found


def _refusals(call: Call) -> list[str]:
    """What is out of range, of a wrong shape or no real number is refused in one line that begins with the argument."""
    if not hasattr(call.function, "ranges"):
        return [] if call.of is not None else ["not under `takes`: nothing is checked"]
    found, names = [], tuple({label.partition(".")[0] for label in (*numbers(call.arguments), *ranges_of(call))})
    for label, value in _wrong(call):
        try:
            call.function(**with_numbers(call.arguments, {label: value}))
        except ValueError as error:
            if not str(error).startswith(names) or "\n" in str(error):
                found.append(f"{label} = {str(value)[:60]}: no line that begins with the argument: {str(error)[:120]}")
        except Exception as error:
            found.append(f"{label} = {str(value)[:60]}: {_said(error)}")
        else:
            found.append(f"{label} = {' '.join(str(value).split())[:60]}: accepted")
    return found


def _wrong(call: Call) -> list[tuple[str, Any]]:
    wrong: list[tuple[str, Any]] = []
    for label, allowed in ranges_of(call).items():
        name, _, part = label.partition(".")
        if name not in call.arguments:
            continue
        value = getattr(call.arguments[name], part) if part else call.arguments[name]
        below = [] if allowed.low == -math.inf else [allowed.low if allowed.low_open else allowed.low - 1]
        beyond = [] if allowed.high == math.inf else [allowed.high if allowed.high_open else allowed.high + 1]
        if isinstance(value, int):
            wrong += [(label, int(one)) for one in below + beyond]
        elif isinstance(value, (float, np.ndarray)):
            beyond += [math.inf] if allowed.high_open and allowed.high == math.inf else []
            wrong += [(label, np.full(np.shape(value), one)) for one in (*below, *beyond, math.nan)]
    for label, value in numbers(call.arguments).items():
        wrong += [(label, "three")] + (
            [] if takes_complex(_annotation(call, label)) else [(label, np.asarray(value) * (1 + 1j))]
        )
        if not _any_axes(call, label):
            wrong.append((label, np.stack([np.asarray(value, float)] * 7)))
    return wrong


def _any_axes(call: Call, label: str) -> bool:
    """Whether the annotation admits further axes, or none is known."""
    axes = axes_of(_annotation(call, label))
    return axes is None or "*" in axes or "..." in axes


def _annotation(call: Call, label: str) -> Any:
    name, _, part = label.partition(".")
    annotation = _hints(inspect.unwrap(call.function)).get(name)
    return _hints(annotation).get(part) if part else annotation


@functools.cache
def _hints(thing: Any) -> dict[str, Any]:
    return typing.get_type_hints(thing, include_extras=True)
