"""An experiment at one static config as traced programs: what is checked, what is compiled, and what its digest is of.

Every function of the contract is traced once for the shapes of one run. Constants are inside of what was traced, so that a
change between tracing and running (an array changed in place) cannot mix two versions.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core

from ...console import first_line
from ..errors import UsageError
from . import config as config_
from .digest import Undigested, hash_of, program_text, reads
from .experiment import Experiment, Field, labels_of
from .lanes import lanes_of
from .precision import KEYS, precision, wants_float64
from .request import Version

NOT_KEPT = "not kept"  # the digest of what has none
ENGINE = 1  # raised when the engine makes other numbers of the same programs
# jax keeps what it has traced, by function and context; in a context of its own all is traced again
_context = jax.make_user_context(0)
_count = itertools.count(1)


class Function(NamedTuple):
    """A function of arrays as it was traced."""

    closed: core.ClosedJaxpr
    out: Any  # what it returns, leaves as shapes

    def __call__(self, *arguments: Any) -> Any:
        leaves = core.jaxpr_as_fun(self.closed)(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(self.out), leaves)


class Identity(NamedTuple):
    """By what the results of a static config are named."""

    simulation: str  # a digest of the traced programs of the simulation
    prediction: str  # of those of the predictions, or of the sources of one that cannot be traced; "" without any
    training: str = ""  # of init, step and what is observed on the way, whatever is measured at the end
    trained_by: tuple[str, ...] = ()  # the traced fields that those read
    seedless: bool = False  # no program reads the key

    @property
    def version(self) -> Version:
        """What the results are named by."""
        return Version(self.simulation, self.prediction)


class Traced(NamedTuple):
    """All programs of an experiment at a static config."""

    functions: dict[str, Function]  # simulate, or init and what follows
    predictions: dict[str, Function | None]  # by side; None: it cannot be traced, and is called with plain numbers
    shapes: dict[str, Any]  # of one run, by side: "simulation" and "curves" at one step, predictions at all
    identity: Identity
    lanes: int = 1  # runs that go side by side through the simulation on a CPU


def trace(experiment: Experiment, config: Any, steps: np.ndarray | None, end: int, keep: bool = True) -> Traced:
    """Trace every function at this static config, all anew, and check its axes. Nothing is computed or compiled.

    Raises `UsageError` for axes that do not match the annotations, or for a traced field that is used where a plain number is
    needed.
    """
    float64 = wants_float64(config)
    with _context(next(_count)):
        with explained(experiment.name, config, lambda floats: _simulated(experiment, config, floats)):
            functions = _simulated(experiment, config, config_.traced_values(config))
        sizes = {axis: len(values) for axis, values in labels_of(experiment, config).items()}
        shapes = _shapes(experiment, functions)
        if "curves" in shapes:
            _check_result(experiment, "simulation", shapes["curves"], sizes, of=experiment.curves)
        _check_result(experiment, "simulation", shapes["simulation"], sizes)
        predictions: dict[str, Function | None] = {}
        for side, function in experiment.predictions.items():
            predictions[side], shapes[side] = _prediction(experiment, config, steps, function, functions)
            _check_result(experiment, side, shapes[side], sizes, lead=int(experiment.dynamics))
        programs = {name: function.closed for name, function in functions.items()}
        lanes = lanes_of(programs, end, 0 if steps is None else len(steps))
        try:
            with precision(float64):
                identity = identity_of(experiment, config, steps, end, functions, predictions, lanes)
        except Undigested:
            if keep:
                raise
            identity = Identity(NOT_KEPT, NOT_KEPT if predictions else "", NOT_KEPT)
    return Traced(functions, predictions, shapes, identity, lanes)


def to_float64(tree: Any) -> Any:
    """The same arrays with floating-point leaves in float64: what a conditional prediction is given."""
    return jax.tree.map(lambda leaf: leaf.astype(np.float64) if jax.numpy.issubdtype(leaf.dtype, np.floating) else leaf, tree)


# --- tracing --------------------------------------------------------------------------------------------------------------


def _traced(function: Callable, *arguments: Any) -> Function:
    closed, out = jax.make_jaxpr(function, return_shape=True)(*arguments)
    return Function(closed, out)


def _simulated(experiment: Experiment, config: Any, floats: Mapping[str, Any]) -> dict[str, Function]:
    """The programs of the simulation, whose arguments are these floats of the config."""
    with precision(wants_float64(config)):
        return _simulation(experiment, config, dict(floats))


def _simulation(experiment: Experiment, config: Any, floats: dict[str, Any]) -> dict[str, Function]:
    def at_config(name: str, argument: Any) -> Function:
        function = experiment.functions[name]
        return _traced(lambda argument, values: function(argument, config_.with_traced(config, values)), argument, floats)

    key = jax.eval_shape(lambda: jax.random.key(0, impl=KEYS))
    if not experiment.drawn:
        return {"simulate": at_config("simulate", key)}
    functions = {"init": at_config("init", key)}
    state = functions["init"].out
    if experiment.stepped:
        functions["step"] = at_config("step", state)
        _check_same(experiment, state, functions["step"].out)
    if experiment.dynamics or experiment.curves:
        functions["observe"] = at_config("observe", state)
    if not experiment.dynamics:
        functions["simulate"] = at_config("simulate", state)
    return functions


_USED = "used where Python needs the number itself (if, int(), a shape)"
_NUMBERS_WANTED = (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)


@contextlib.contextmanager
def explained(name: str, config: Any, attempt: Callable[[Mapping[str, float]], Any]) -> Iterator[None]:
    """What code raises while it is traced, said by the fields of the config that it takes for plain numbers.

    `attempt` traces the code with only those floats traced that it is given; it tells which of them are to blame.
    """

    def raised(floats: Mapping[str, float]) -> str:
        try:
            attempt(floats)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        said = first_line(error).rstrip(".")
        floats, plain = config_.traced_values(config), raised({})
        blamed = [path for path in floats if raised({path: floats[path]}) not in ("", plain)]
        if blamed and (not plain or isinstance(error, TypeError | IndexError)):  # as for a shape, which is a whole number too
            raise UsageError(
                f"{name}: {', '.join(blamed)} {'is' if len(blamed) == 1 else 'are'} traced, but {_USED}; allowed: "
                f"jax.numpy.where and the like, or declare it static: {blamed[0]}: Annotated[float, Static] in a dataclass, "
                f"Static({floats[blamed[0]]:g}) in a dict, with Static from closedform.contract ({said})"
            ) from error
        if isinstance(error, _NUMBERS_WANTED):
            raise UsageError(
                f"{name}: an array that depends on the key or the state is {_USED}; "
                f"allowed: jax.numpy.where, jax.lax.cond, jax.lax.while_loop ({said})"
            ) from error
        raise


def _shapes(experiment: Experiment, functions: Mapping[str, Function]) -> dict[str, Any]:
    shapes = {"simulation": functions["observe" if experiment.dynamics else "simulate"].out}
    return {**shapes, "curves": functions["observe"].out} if experiment.curves else shapes


def _prediction(
    experiment: Experiment, config: Any, steps: np.ndarray | None, function: Callable, functions: Mapping[str, Function]
) -> tuple[Function | None, Any]:
    """A prediction as a program in float64 and its shapes; no program where it wants plain numbers (numpy, scipy, mpmath)."""
    tail = (steps,) if experiment.dynamics else ()
    floats = config_.traced_values(config)

    def at(state: Any, values: dict[str, Any]) -> Any:
        given = (state,) if experiment.conditional else ()
        return function(*given, config_.with_traced(config, values), *tail)

    state = functions["init"].out if experiment.conditional else ()
    with precision(True):
        try:
            traced = _traced(at, jax.eval_shape(to_float64, state), floats)
        except Exception as error:
            try:
                return None, _called(function, config, tail, state if experiment.conditional else None)
            except Exception:
                raise error from None
    return traced, traced.out


def _called(function: Callable, config: Any, tail: tuple[Any, ...], state: Any) -> Any:
    """The shapes of a prediction that is computed by plain numbers."""
    blank = () if state is None else (to_float64(jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), state)),)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), np.float64), function(*blank, config, *tail))


# --- names ----------------------------------------------------------------------------------------------------------------


def identity_of(
    experiment: Experiment,
    config: Any,
    steps: np.ndarray | None,
    end: int,
    functions: Mapping[str, Function],
    predictions: Mapping[str, Function | None],
    lanes: int,
) -> Identity:
    """The digests of traced programs.

    A file holds numbers under names (fields, axes, labels, steps), so these belong to what was computed.
    """
    floats = sorted(config_.traced_values(config))
    rows = [] if steps is None else steps.tolist()
    common = [ENGINE, KEYS, "float64" if wants_float64(config) else "float32"]
    said = [rows, labels_of(experiment, config)]
    loop = [*common, end, experiment.dynamics, *(["lanes", lanes] if lanes > 1 else [])]

    def texts(*about: Any) -> list[str]:
        return [json.dumps(about)]

    def of(name: str) -> list[str]:
        return [name, *program_text(functions[name].closed)]

    fields = {name: field.axes for name, field in experiment.fields.items()}
    curves = {name: field.axes for name, field in experiment.curves.items()}
    simulation = hash_of([*texts(*loop, *said, fields, curves, floats), *itertools.chain.from_iterable(map(of, functions))])
    key = functions.get("init", functions.get("simulate"))
    assert key is not None
    seedless = 0 not in reads(key.closed)
    prediction = ""
    if predictions:
        prediction = hash_of([*texts(*said, fields, floats), *_texts_of_predictions(experiment, predictions)])
    if not experiment.training:
        return Identity(simulation, prediction, seedless=seedless)
    own = [functions[name] for name in ("init", "step", "observe") if name in functions]
    used, parts = set(), texts(*loop, rows, curves)
    for one in own:
        first, read = len(one.closed.jaxpr.invars) - len(floats), reads(one.closed)
        mine = [name for place, name in enumerate(floats, first) if place in read]
        used |= set(mine)
        parts += [json.dumps(mine), *program_text(one.closed, set(range(first, first + len(floats))) - read)]
    return Identity(simulation, prediction, hash_of(parts), tuple(sorted(used)), seedless)


def _texts_of_predictions(experiment: Experiment, predictions: Mapping[str, Function | None]) -> list[str]:
    texts = []
    for side, traced in sorted(predictions.items()):
        texts.append(side)
        texts += [experiment.sources_of_prediction(side)] if traced is None else program_text(traced.closed)
    return texts


# --- checks ---------------------------------------------------------------------------------------------------------------


def _check_same(experiment: Experiment, state: Any, stepped: Any) -> None:
    before, after = (
        [(jax.tree_util.keystr(path), leaf.shape, str(leaf.dtype)) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]
        for tree in (state, stepped)
    )
    if before != after:
        changes = [f"{old} -> {new}" for old, new in zip(before, after, strict=False) if old != new]
        raise UsageError(f"{experiment.name}: step changes the state: {'; '.join(changes) or 'other leaves'}")


def _check_result(
    experiment: Experiment,
    side: str,
    shapes: Any,
    sizes: dict[str, int],
    lead: int = 0,
    of: Mapping[str, Field] | None = None,
) -> None:
    """Check one side's `Result` shapes against the annotations; `sizes` collects each axis length over both sides.

    `lead` counts leading axes that the engine owns (the step axis of a prediction).
    """
    for name, field in (experiment.fields if of is None else of).items():
        leaf = getattr(shapes, name)
        where = f"{experiment.name}: {side}.{name}"
        if leaf is None:
            if side == "simulation" or (side == "prediction" and field.predicted):
                raise UsageError(f"{where} is None; write `| None = None` if it has no prediction")
            continue
        if not (np.issubdtype(leaf.dtype, np.floating) or experiment.plain):  # whole numbers: see stored_dtype
            raise UsageError(f"{where} has dtype {leaf.dtype}; a Result holds floating-point arrays")
        shape = leaf.shape[lead:]
        if len(shape) != len(field.axes):
            raise UsageError(f"{where} has shape {shape}; its annotation names the axes {field.axes}")
        for axis, size in zip(field.axes, shape, strict=True):
            if sizes.setdefault(axis, size) != size:
                raise UsageError(f"{where}: axis {axis} has length {size} here and {sizes[axis]} elsewhere")
