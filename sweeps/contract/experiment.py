"""An experiment as the engine sees it: a module that follows the contract of the guide "add a paper", read once.

Nothing is registered: `experiments/<paper>/<name>.py` is the experiment `<paper>/<name>`, and its figure is the file of the
same path under `figures/`. All that the engine needs to know is in the module: its functions say whether it is
one shot, dynamics (measured on the way) or training (measured at its end), their signatures whether its prediction is
conditional on the draw; the annotations of `Result` name the axes.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import math
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from ...contract import Tolerance, plain
from ..errors import UsageError, unknown
from . import config as config_
from .functions import kept_as
from .precision import KEYS

ENGINE_FIELDS = ("diverged", "failed", "stored")  # that the engine adds to what an experiment measures
_PACKAGE = __name__.split(".")[0]
_ROOT = Path(__file__).resolve().parents[2]


_WANTED = {
    "one shot": ["simulate"],
    "dynamics": ["init", "step", "observe", "steps"],
    "training": ["init", "step", "num_steps", "simulate"],
}


class Field(NamedTuple):
    """One quantity of `Result`: its axes by name, in order, and whether it has a prediction."""

    axes: tuple[str, ...]
    predicted: bool


class Experiment(NamedTuple):
    """The contract of one module, read and checked. Functions are those of the module, untouched."""

    name: str
    module: ModuleType
    fields: dict[str, Field]
    dynamics: bool  # init/step/observe/steps: measured on the way
    drawn: bool  # init draws what simulate and predict share
    conditional: bool  # predict takes a state: of dynamics and one shot what init returned, of training the end
    training: bool = False  # init/step/num_steps/simulate: measured at the end
    curves: dict[str, Field] = {}  # noqa: RUF012  # of training that observes: recorded at `steps`, without a prediction

    @property
    def stepped(self) -> bool:
        """Whether the engine owns a loop of steps."""
        return self.dynamics or self.training

    @property
    def predictions(self) -> dict[str, Callable]:
        """`predict` as "prediction", and every rival `predict_<name>` as "prediction_<name>"."""
        return {
            "prediction" + name.removeprefix("predict"): function
            for name, function in vars(self.module).items()
            if (name == "predict" or name.startswith("predict_")) and callable(function)
        }

    @property
    def tolerance(self) -> dict[str, Tolerance]:
        """The finite-size allowance of each field; one that the module does not name has none."""
        return {**dict.fromkeys(self.fields, Tolerance()), **getattr(self.module, "TOLERANCE", {})}

    @property
    def shared(self) -> dict[str, str]:
        """`{field: reason}` of the fields whose simulated side uses theory, as the module declares them."""
        return getattr(self.module, "SHARED", {})

    def labels(self, config: Any) -> dict[str, tuple]:
        """`{axis: values}`, numbers or words, that label the points of an axis; without labels points are counted."""
        stated = getattr(self.module, "labels", lambda config: {})(config)
        return {axis: tuple(map(plain, values)) for axis, values in stated.items()}

    @property
    def grid(self) -> dict[str, tuple]:
        return {field: tuple(values) for field, values in getattr(self.module, "GRID", {}).items()}

    @property
    def seeds(self) -> int:
        return getattr(self.module, "SEEDS", 8)

    def default_config(self, preset: str | None = None) -> Any:
        """`Config()` with the named preset applied ("quick" is QUICK)."""
        presets: Mapping[str, Mapping] = {"quick": getattr(self.module, "QUICK", {}), **getattr(self.module, "PRESETS", {})}
        if preset is not None and preset not in presets:
            raise unknown(f"preset of {self.name}", preset, presets)
        return config_.replace(self.module.Config(), presets[preset] if preset else {})

    def about(self) -> About:
        """What the module docstring says."""
        return read_about(inspect.getdoc(self.module) or "")


class About(NamedTuple):
    """The docstring of an experiment, in its parts."""

    claim: str  # one sentence
    body: str  # Markdown, with the formula
    source: str
    cost: str


def read_about(document: str) -> About:
    """Cut the docstring of an experiment: a first line, any text, and the paragraphs that begin with "Source:" and "Cost:".

    >>> read_about("It holds.\\n\\nFor all n.\\n\\nSource: derived\\nhere\\nCost: 2 s")
    About(claim='It holds.', body='For all n.', source='derived here', cost='2 s')
    """
    claim, _, rest = document.partition("\n")
    rest, _, cost = f"\n{rest}".partition("\nCost:")
    body, _, source = rest.partition("\nSource:")
    return About(claim, body.strip(), " ".join(source.split()), " ".join(cost.split()))


def names(paper: str | None = None) -> list[str]:
    """Every `<paper>/<experiment>` of this package, or those of one paper, sorted. Imports nothing."""
    folder = _ROOT / "experiments"
    found = sorted(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/*.py") if not path.name.startswith("_")
    )
    if paper is None:
        return found
    chosen = [name for name in found if paper in (name, name.split("/")[0])]
    if not chosen:
        raise unknown("paper or experiment", paper, {name.split("/")[0] for name in found} | set(found))
    return chosen


@functools.cache
def _source(name: str) -> ast.Module:
    return ast.parse((_ROOT / "experiments" / f"{name}.py").read_text(encoding="utf-8"))


def docstring(name: str) -> str:
    """The docstring of the module of an experiment (`xor/phases`) or a paper (`xor/__init__`), read without importing it."""
    return ast.get_docstring(_source(name)) or ""


def constant(name: str, what: str, default: Any) -> Any:
    """A constant of the module of an experiment, such as GRID, read without importing it; the default if it has none.

    The default is also returned where the constant is not a plain value but computed.
    """
    for node in _source(name).body:
        if isinstance(node, ast.Assign) and [what] == [getattr(target, "id", "") for target in node.targets]:
            with contextlib.suppress(ValueError):
                return ast.literal_eval(node.value)
    return default


def find(experiment: str | ModuleType) -> Experiment:
    """Read the contract of an experiment given by name (`xor/phases`) or as a module.

    Raises `UsageError` for an unknown name (with the nearest ones) and for a module that breaks the contract.
    """
    if isinstance(experiment, ModuleType):
        module, name = experiment, kept_as(experiment)
    else:
        if experiment not in names():
            raise unknown("experiment", experiment, names())
        name = experiment
        module = importlib.import_module(f"{_PACKAGE}.experiments.{name.replace('/', '.')}")
    return _read(name, module)


def find_figure(name: str) -> Callable | None:
    """`draw` of the figure that has the experiment's path, or None where there is none."""
    if not (_ROOT / "figures" / f"{name}.py").exists():
        return None
    return importlib.import_module(f"{_PACKAGE}.figures.{name.replace('/', '.')}").draw


def _read(name: str, module: ModuleType) -> Experiment:
    training = hasattr(module, "step") and hasattr(module, "num_steps")
    dynamics = hasattr(module, "step") and not training
    wanted = ["Config", "Result", *_WANTED["training" if training else "dynamics" if dynamics else "one shot"]]
    if training and (hasattr(module, "observe") or hasattr(module, "Curves")):
        wanted += ["observe", "steps", "Curves"]
    missing = [attribute for attribute in wanted if not hasattr(module, attribute)]
    if missing:
        raise UsageError(f"experiment {name} lacks {', '.join(missing)}; a module of its kind has {', '.join(wanted)}")
    fields = _fields(name, module.Result)
    curves = _fields(name, module.Curves) if training and hasattr(module, "Curves") else {}
    if both := sorted(set(fields) & set(curves)):
        raise UsageError(f"{name}: {both[0]} is a field of Result and of Curves; rename one of the two")
    experiment = Experiment(
        name=name,
        module=module,
        fields=fields,
        dynamics=dynamics,
        drawn=hasattr(module, "init"),
        conditional=hasattr(module, "predict") and "state" in inspect.signature(module.predict).parameters,
        training=training,
        curves=curves,
    )
    every = {**fields, **curves}
    for field in {*ENGINE_FIELDS, "cell", "seed", "step", "point"} & set(every):
        raise UsageError(f"{name}: Result.{field}: that name belongs to the engine; choose another")
    for field in sorted(set(every) & {axis for one in every.values() for axis in one.axes}):
        raise UsageError(f"{name}: Result.{field}: an axis has that name too; choose another for one of the two")
    if experiment.conditional and not experiment.drawn:
        raise UsageError(f"experiment {name}: predict takes a state, so the module needs init(key, config)")
    for stated in ("TOLERANCE", "SHARED"):
        if strangers := set(getattr(module, stated, {})) - set(fields):
            raise unknown(f"field in {name}.{stated}", min(strangers), fields)
    for field, tolerance in experiment.tolerance.items():
        if not isinstance(tolerance, Tolerance) or not all(0 <= part < math.inf for part in tolerance[:2]):
            allowed = "Tolerance(relative, absolute, reason=...), two finite numbers of at least 0"
            raise UsageError(f"{name}: TOLERANCE[{field!r}]: got {tolerance!r}; allowed: {allowed}")
        if any(tolerance[:2]) and not tolerance.reason:
            raise UsageError(f"{name}: TOLERANCE[{field!r}]: got no reason; allowed: Tolerance(..., reason='why it is off')")
    return experiment


def _fields(name: str, kind: type) -> dict[str, Field]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field: _field(f"{name}: {kind.__name__}.{field}", hint) for field, hint in hints.items()}


def _field(where: str, hint: Any) -> Field:
    options = typing.get_args(hint) if type(None) in typing.get_args(hint) else (hint,)
    arrays = [option for option in options if hasattr(option, "dim_str")]
    if len(arrays) != 1:
        raise UsageError(f'{where}: annotate with one jaxtyping array, such as Float[Array, "cluster"]; got {hint}')
    axes = tuple(arrays[0].dim_str.split())
    if any(not axis.isidentifier() for axis in axes) or len(set(axes)) < len(axes):
        raise UsageError(f"{where}: axes are distinct names, no numbers or wildcards; got {arrays[0].dim_str!r}")
    if {"seed", "step", "cell", "point"} & set(axes):
        raise UsageError(f"{where}: the axes seed, step, cell and point belong to the engine; got {arrays[0].dim_str!r}")
    return Field(axes, predicted=type(None) not in options)


def recorded_steps(experiment: Experiment, config: Any) -> np.ndarray | None:
    """The steps at which a run is observed, sorted, at least 0; none of training without curves; None for one shot."""
    if not experiment.stepped:
        return None
    if experiment.training and not experiment.curves:
        return np.zeros(0, np.int64)
    steps = np.asarray(experiment.module.steps(config))
    valid = steps.ndim == 1 and steps.size > 0 and np.issubdtype(steps.dtype, np.integer)
    if not valid or steps[0] < 0 or np.any(np.diff(steps) <= 0):
        raise UsageError(f"{experiment.name}: steps(config) is a sorted array of distinct step counts; got {steps!r}")
    if experiment.training and steps[-1] > (end := last_step(experiment, config, steps)):
        raise UsageError(f"{experiment.name}: steps(config) ends at num_steps(config) = {end} or before; got {steps!r}")
    return steps.astype(np.int64)


def last_step(experiment: Experiment, config: Any, steps: np.ndarray | None) -> int:
    """How many steps a run has; one shot counts as one."""
    if steps is None:
        return 1
    if not experiment.training:
        return int(steps[-1])
    count = experiment.module.num_steps(config)
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
        raise UsageError(f"{experiment.name}: num_steps(config) is a whole number of at least 0; got {count!r}")
    return int(count)


def labels_of(experiment: Experiment, config: Any) -> dict[str, tuple]:
    """The labels of the axes at this config, checked."""
    labels = experiment.labels(config)
    if not labels:  # asked for every cell of a grid
        return labels
    axes = {axis for field in (*experiment.fields.values(), *experiment.curves.values()) for axis in field.axes}
    if strangers := set(labels) - axes:
        raise unknown(f"axis in {experiment.name}.labels", min(strangers), axes)
    for axis, values in labels.items():
        words = all(isinstance(value, str) for value in values)
        numbers = all(isinstance(value, int | float) and abs(value) < 2**63 for value in values)
        if not (words or numbers) or len(set(values)) < len(values):
            raise UsageError(f"{experiment.name}: labels of {axis}: got {values!r}; allowed: distinct numbers or words")
    return labels


def check(experiment: Experiment, config: Any, steps: np.ndarray | None) -> dict[str, Any]:
    """Evaluate all sides abstractly and check their axes; returns the shapes of one run, by side.

    "simulation" is its `Result` and "curves", in training that observes, its `Curves`: of dynamics and of curves at one step.
    Then come the predictions, at all steps.

    Nothing is computed or compiled. Raises `UsageError` for axes that do not match the annotations, or for a traced field
    that is used where a plain number is needed.
    """
    module, floats, key = experiment.module, config_.traced_values(config), jax.random.key(0, impl=KEYS)

    def at(values: dict[str, Any]) -> Any:
        return config_.with_traced(config, values)

    shapes: dict[str, Any] = {}
    try:
        state = None
        if not experiment.drawn:
            shapes["simulation"] = jax.eval_shape(lambda k, f: module.simulate(k, at(f)), key, floats)
        else:
            state = jax.eval_shape(lambda k, f: module.init(k, at(f)), key, floats)
            if experiment.stepped:
                stepped = jax.eval_shape(lambda s, f: module.step(s, at(f)), state, floats)
                _check_same(experiment, state, stepped)
            observe = module.observe if experiment.dynamics else module.simulate
            shapes["simulation"] = jax.eval_shape(lambda s, f: observe(s, at(f)), state, floats)
            if experiment.curves:
                shapes["curves"] = jax.eval_shape(lambda s, f: module.observe(s, at(f)), state, floats)
        sizes = {axis: len(values) for axis, values in labels_of(experiment, config).items()}
        if "curves" in shapes:
            _check_result(experiment, "simulation", shapes["curves"], sizes, of=experiment.curves)
        _check_result(experiment, "simulation", shapes["simulation"], sizes)
        for side, function in experiment.predictions.items():
            tail = (steps,) if experiment.dynamics else ()

            def predict(state, floats, function=function, tail=tail):
                given = (to_float64(state),) if experiment.conditional else ()
                return function(*given, at(floats), *tail)

            with jax.enable_x64(True):
                shapes[side] = jax.eval_shape(predict, state, floats)
            _check_result(experiment, side, shapes[side], sizes, lead=len(tail))
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        where = str(error).split("\n")[0].rstrip(".")
        raise UsageError(
            f"{experiment.name}: a traced field ({', '.join(floats) or 'none'}) is used where a plain number is needed; a "
            f"float that fixes a shape or a branch is declared Annotated[float, Static]. ({where})"
        ) from error
    return shapes


def stored_dtype(dtype: Any) -> np.dtype:
    """The type in which results are kept: floating-point, and of whole numbers one that holds each of them exactly.

    That is float32 for what has at most 16 bits, and float64 for more, whatever the precision of the simulation: these are
    converted when they have left the program.
    """
    if dtype in (np.float32, np.float64):
        return np.dtype(dtype)
    narrow = dtype == np.bool_ or jax.numpy.issubdtype(dtype, np.floating) or jax.numpy.iinfo(dtype).bits <= 16
    return np.dtype(np.float32 if narrow else np.float64)


def to_float64(tree: Any) -> Any:
    """The same arrays with floating-point leaves in float64: what a conditional prediction is given."""
    return jax.tree.map(lambda leaf: leaf.astype(np.float64) if jax.numpy.issubdtype(leaf.dtype, np.floating) else leaf, tree)


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
        of_a_function = hasattr(experiment.module, "FUNCTIONS")  # which may return whole numbers: see stored_dtype
        if not (np.issubdtype(leaf.dtype, np.floating) or of_a_function):
            raise UsageError(f"{where} has dtype {leaf.dtype}; a Result holds floating-point arrays")
        shape = leaf.shape[lead:]
        if len(shape) != len(field.axes):
            raise UsageError(f"{where} has shape {shape}; its annotation names the axes {field.axes}")
        for axis, size in zip(field.axes, shape, strict=True):
            if sizes.setdefault(axis, size) != size:
                raise UsageError(f"{where}: axis {axis} has length {size} here and {sizes[axis]} elsewhere")
