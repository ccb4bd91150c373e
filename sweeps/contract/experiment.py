"""An experiment as the engine sees it: a record of functions, made of a module, a file or a plain function alike.

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
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ...contract import Tolerance, plain
from ..errors import UsageError, unknown
from . import config as config_
from . import sources
from .names import FILE, kept_as

if TYPE_CHECKING:  # `closedform list` needs no NumPy
    import numpy as np

ENGINE_FIELDS = ("diverged", "failed", "stored")  # that the engine adds to what an experiment measures
_PACKAGE = __name__.split(".")[0]
_ROOT = Path(__file__).resolve().parents[2]

Kind = Literal["one shot", "dynamics", "training"]
_WANTED: dict[Kind, list[str]] = {
    "one shot": ["simulate"],
    "dynamics": ["init", "step", "observe", "steps"],
    "training": ["init", "step", "num_steps", "simulate"],
}


class Field(NamedTuple):
    """One quantity of `Result`: its axes by name, in order, and whether it has a prediction."""

    axes: tuple[str, ...]
    predicted: bool


class Experiment(NamedTuple):
    """What an experiment declares, read and checked. Functions are the author's own, untouched."""

    name: str
    kind: Kind = "one shot"
    Config: type = object
    functions: Mapping[str, Callable] = {}  # simulate, init, step, observe, steps, num_steps, as the kind wants
    predictions: Mapping[str, Callable] = {}  # `predict` as "prediction", each rival as "prediction_<name>"
    fields: Mapping[str, Field] = {}
    curves: Mapping[str, Field] = {}  # of training that observes: recorded at `steps`, without a prediction
    conditional: bool = False  # predict takes a state: of dynamics and one shot what init returned, of training the end
    tolerance: Mapping[str, Tolerance] = {}  # the finite-size allowance of each field
    shared: Mapping[str, str] = {}  # why the simulated side of a field uses theory
    dense: Mapping[str, int] = {}  # CURVE: at how many values of a field theory is drawn
    grid: Mapping[str, tuple] = {}
    presets: Mapping[str, Mapping[str, Any]] = {}  # "quick" among them
    seeds: int = 8
    labelled: Callable[[Any], Mapping[str, Any]] | None = None
    document: str = ""
    files: tuple[Path, ...] = ()  # in which it is defined
    plain: bool = False  # a function, whose name may be another's too
    asked_by_name: bool = False  # so it is what its files say, and what it was traced to can be looked up by them
    as_given: Callable[[Any], Any] = lambda config: config  # the config as the functions take it

    @property
    def dynamics(self) -> bool:
        """init/step/observe/steps: measured on the way."""
        return self.kind == "dynamics"

    @property
    def training(self) -> bool:
        """init/step/num_steps/simulate: measured at the end."""
        return self.kind == "training"

    @property
    def stepped(self) -> bool:
        """Whether the engine owns a loop of steps."""
        return self.kind != "one shot"

    @property
    def drawn(self) -> bool:
        """Whether `init` draws what simulate and predict share."""
        return "init" in self.functions

    def labels(self, config: Any) -> dict[str, tuple]:
        """`{axis: values}`, numbers or words, that label the points of an axis; without labels points are counted."""
        stated = {} if self.labelled is None else self.labelled(config)
        return {axis: tuple(map(plain, values)) for axis, values in stated.items()}

    def default_config(self, preset: str | None = None, start: Any = None) -> Any:
        """`Config()`, or the config to start from, with the named preset applied ("quick" is QUICK)."""
        if preset is not None and preset not in self.presets:
            raise unknown(f"preset of {self.name}", preset, self.presets)
        start = config_.default(self.Config) if start is None else start
        return config_.replace(start, self.presets[preset] if preset else {})

    def about(self) -> About:
        """What the module docstring says."""
        return read_about(self.document)

    def sources(self) -> str:
        """A digest of the files in which it is defined, with all that they import; "" where there are none."""
        return sources.digest(*self.files) if self.files else ""

    def sources_of_prediction(self, side: str) -> str:
        """What tells a prediction that cannot be traced from another: its file, what that imports, and the packages."""
        function = inspect.unwrap(self.predictions[side])
        file = getattr(getattr(function, "__code__", None), "co_filename", "")
        if not Path(file).is_file():
            raise UsageError(
                f"{self.name}: {side} cannot be traced, and stands in no file, so it could not be told from another one; "
                "allowed: a function of JAX arrays, or one in a file"
            )
        return f"{function.__qualname__} {sources.digest(Path(file))} {sources.installed()}"


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
        papers = {name.split("/")[0] for name in found}
        raise unknown("paper or experiment", paper, papers | set(found), where="closedform list shows all")
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
        return from_module(experiment, kept_as(experiment))
    if experiment not in names():
        raise unknown_experiment(experiment)
    with sources.watched():
        module = importlib.import_module(f"{_PACKAGE}.experiments.{experiment.replace('/', '.')}")
    return from_module(module, experiment, asked_by_name=True)


def unknown_experiment(text: str) -> UsageError:
    """The error for a name that is no experiment: a file that was meant, the experiments of a paper, or the nearest names."""
    file, colon, function = text.partition(":")
    if text.count(":") < 2 and Path(f"{file}.py").is_file():
        return UsageError(f"experiment: got {text!r}; allowed: a file by its whole name, {file}.py{colon}{function}")
    if own := [name for name in names() if name.split("/")[0] == text]:
        return UsageError(f"experiment: got {text!r}, a paper; allowed: one of its experiments: {', '.join(own)}")
    return unknown("experiment", text, names(), where="closedform list shows all")


def find_figure(name: str, what: str = "draw") -> Callable | None:
    """`draw`, or `animate`, of the figure that has the experiment's path, or None where there is none."""
    if not (_ROOT / "figures" / f"{name}.py").exists():
        return None
    return getattr(importlib.import_module(f"{_PACKAGE}.figures.{name.replace('/', '.')}"), what, None)


def from_module(module: ModuleType, name: str, asked_by_name: bool = False) -> Experiment:
    """Read the contract of a module. Raises `UsageError` where it is broken."""
    said = vars(module)
    training = "step" in said and "num_steps" in said
    kind: Kind = "training" if training else "dynamics" if "step" in said else "one shot"
    wanted = list(_WANTED[kind])
    if training and ("observe" in said or "Curves" in said):
        wanted += ["observe", "steps", "Curves"]
    if missing := [attribute for attribute in ("Config", "Result", *wanted) if attribute not in said]:
        lacks = f"lacks {', '.join(missing)}; a module of its kind has {', '.join(wanted)}"
        raise UsageError(f"experiment {name}{_functions_of(module)} {lacks}")
    functions = {one: said[one] for one in (*wanted, "init") if one in said and one != "Curves"}
    predictions = {
        "prediction" + one.removeprefix("predict"): function
        for one, function in said.items()
        if (one == "predict" or one.startswith("predict_")) and callable(function)
    }
    fields = fields_of(name, module.Result, stepped=kind != "one shot")
    stated = said.get("TOLERANCE", {})
    file = said.get("__file__")
    experiment = Experiment(
        name=name,
        kind=kind,
        Config=module.Config,
        functions=functions,
        predictions=predictions,
        fields=fields,
        curves=fields_of(name, module.Curves) if training and "Curves" in said else {},
        conditional="predict" in said and "state" in inspect.signature(module.predict).parameters,
        tolerance={**dict.fromkeys(fields, Tolerance()), **stated},
        shared=said.get("SHARED", {}),
        dense=said.get("CURVE", {}),
        grid={field: tuple(values) for field, values in said.get("GRID", {}).items()},
        presets={"quick": said.get("QUICK", {}), **said.get("PRESETS", {})},
        seeds=said.get("SEEDS", 8),
        labelled=said.get("labels"),
        document=inspect.getdoc(module) or "",
        files=() if file is None else (Path(file),),
        asked_by_name=asked_by_name,
    )
    return checked(experiment)


def _functions_of(module: ModuleType) -> str:
    """How to name the functions of a file that holds no experiment but functions."""
    if FILE not in vars(module):
        return ""
    own = [name for name in own_functions(module) if not name.startswith("predict")]
    file = vars(module)[FILE].name
    ways = [f"{file}:{name}" for name in sorted(own, key=lambda name: name != "simulate")[:3]]
    return f": name a function of the file, {' or '.join(ways)}; as an experiment it" if ways else ""


def own_functions(module: Any) -> list[str]:
    """What a module defines itself and can be called, classes aside."""
    own = {name: thing for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__}
    return [name for name, thing in own.items() if callable(thing) and not isinstance(thing, type)]


def checked(experiment: Experiment) -> Experiment:
    """The experiment; raises `UsageError` where names collide or an allowance is none."""
    name, fields, curves = experiment.name, experiment.fields, experiment.curves
    if both := sorted(set(fields) & set(curves)):
        raise UsageError(f"{name}: {both[0]} is a field of Result and of Curves; rename one of the two")
    every = {**fields, **curves}
    for field in {*ENGINE_FIELDS, "cell", "seed", "step", "point"} & set(every):
        raise UsageError(f"{name}: Result.{field}: that name belongs to the engine; choose another")
    for field in sorted(set(every) & {axis for one in every.values() for axis in one.axes}):
        raise UsageError(f"{name}: Result.{field}: an axis has that name too; choose another for one of the two")
    if experiment.conditional and not experiment.drawn:
        raise UsageError(f"experiment {name}: predict takes a state, so the module needs init(key, config)")
    for constant_, stated in (("TOLERANCE", experiment.tolerance), ("SHARED", experiment.shared)):
        if strangers := set(stated) - set(fields):
            raise unknown(f"field in {name}.{constant_}", min(strangers), fields)
    _check_dense(experiment)
    for field, tolerance in experiment.tolerance.items():
        if not isinstance(tolerance, Tolerance) or not all(0 <= part < math.inf for part in tolerance[:2]):
            allowed = "Tolerance(relative, absolute, reason=...), two finite numbers of at least 0"
            raise UsageError(f"{name}: TOLERANCE[{field!r}]: got {tolerance!r}; allowed: {allowed}")
        if any(tolerance[:2]) and not tolerance.reason:
            raise UsageError(f"{name}: TOLERANCE[{field!r}]: got no reason; allowed: Tolerance(..., reason='why it is off')")
    return experiment


def _check_dense(experiment: Experiment) -> None:
    """CURVE names fields of numbers, or of lists of numbers, of a prediction that no draw enters."""
    name, stated = experiment.name, experiment.dense
    if stated and ("prediction" not in experiment.predictions or experiment.conditional):
        raise UsageError(f"{name}: CURVE: theory alone has no curve here; allowed: only beside a predict that takes no state")
    known = {leaf.path: leaf.value for leaf in config_.leaves(config_.default(experiment.Config))} if stated else {}
    for field, number in stated.items():
        if field not in known:
            raise unknown(f"field in {name}.CURVE", field, known)
        values = known[field] if isinstance(known[field], tuple) else (known[field],)
        if not values or any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
            raise UsageError(f"{name}: CURVE[{field!r}]: the field holds {known[field]!r}; allowed: a field of numbers")
        if isinstance(number, bool) or not isinstance(number, int) or number < 2:
            raise UsageError(f"{name}: CURVE[{field!r}]: got {number!r}; allowed: a whole number of points, at least 2")


def fields_of(name: str, kind: type, stepped: bool = True) -> dict[str, Field]:
    """The fields of a `Result`, as its annotations say. Where the engine steps, the axis `step` is its own."""
    hints = typing.get_type_hints(kind, include_extras=True)
    taken = ("seed", "cell", "point", "step") if stepped else ("seed", "cell", "point")
    return {field: _field(f"{name}: {kind.__name__}.{field}", hint, taken) for field, hint in hints.items()}


def _field(where: str, hint: Any, taken: tuple[str, ...]) -> Field:
    options = typing.get_args(hint) if type(None) in typing.get_args(hint) else (hint,)
    arrays = [option for option in options if hasattr(option, "dim_str")]
    if len(arrays) != 1:
        raise UsageError(f'{where}: annotate with one jaxtyping array, such as Float[Array, "cluster"]; got {hint}')
    axes = tuple(arrays[0].dim_str.split())
    if any(not axis.isidentifier() for axis in axes) or len(set(axes)) < len(axes):
        raise UsageError(f"{where}: axes are distinct names, no numbers or wildcards; got {arrays[0].dim_str!r}")
    if set(taken) & set(axes):
        raise UsageError(
            f"{where}: got the axes {arrays[0].dim_str!r}; allowed: other names than {', '.join(taken)}, the engine's own"
        )
    return Field(axes, predicted=type(None) not in options)


def recorded_steps(experiment: Experiment, config: Any) -> np.ndarray | None:
    """The steps at which a run is observed, sorted, at least 0; none of training without curves; None for one shot."""
    import numpy as np

    if not experiment.stepped:
        return None
    if experiment.training and not experiment.curves:
        return np.zeros(0, np.int64)
    steps = np.asarray(experiment.functions["steps"](config))
    valid = steps.ndim == 1 and steps.size > 0 and np.issubdtype(steps.dtype, np.integer)
    if not valid or steps[0] < 0 or np.any(np.diff(steps) <= 0):
        raise UsageError(f"{experiment.name}: steps(config) is a sorted array of distinct step counts; got {steps!r}")
    if experiment.training and steps[-1] > (end := last_step(experiment, config, steps)):
        raise UsageError(f"{experiment.name}: steps(config) ends at num_steps(config) = {end} or before; got {steps!r}")
    return steps.astype(np.int64)


def last_step(experiment: Experiment, config: Any, steps: np.ndarray | None) -> int:
    """How many steps a run has; one shot counts as one."""
    import numpy as np

    if steps is None:
        return 1
    if not experiment.training:
        return int(steps[-1])
    count = experiment.functions["num_steps"](config)
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
