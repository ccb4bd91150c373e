"""What a figure needs beside a result: theory alone at more points than were simulated, and what each field may be off by.

An experiment says of a field how many points its curves have: `CURVE = {"ratio": 200}`. The field is one that is swept, or one
that lists the values of an axis (`betas: tuple[float, ...]`). `with_theory` adds to a result the group `curves`, with the
predictions over the whole range of each such field, and the allowances of `TOLERANCE`. A figure reads both with
`results.agreement.curve` and `allowance`; of a result without them it draws the predictions where something was simulated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from .api import predict
from .contract import config as config_
from .contract.experiment import Experiment, labels_of, recorded_steps
from .contract.precision import precision
from .contract.request import Plan, Request
from .engine import provenance
from .engine.predictions import host
from .errors import UsageError
from .results import store
from .results.agreement import ALLOWANCE, CURVES, swept_axes
from .results.merge import POINT, coordinates, merged

if TYPE_CHECKING:
    import xarray

_DECADE = 10.0  # a range of positive values at least that wide is divided evenly in the logarithm


def with_theory(experiment: Experiment, result: xarray.DataTree, say: Callable[[str], None] | None = None) -> xarray.DataTree:
    """The result with its curves and allowances; the result itself is left as it is, and nothing is stored.

    Where no curve can be had (paired fields, values that the Config refuses) there is none; `say` is told of the latter.
    """
    if "prediction" not in result.children:
        return result
    tree = result.copy()
    tree["prediction"] = tree["prediction"].copy()
    for field, tolerance in experiment.tolerance.items():
        if field in tree["prediction"]:
            tree["prediction"][field].attrs[ALLOWANCE] = (tolerance.relative, tolerance.absolute)
    said, swept = store.provenance(result), swept_axes(result)
    if POINT in swept:
        return tree
    over = {path: store.group(result, "simulation")[path].values.tolist() for path in swept}
    for field, number in experiment.dense.items():
        if field not in over and not isinstance(said["config"][field], list | tuple):
            continue  # one value was asked for
        try:
            found = _curve(experiment, said["config"], over, field, number)
        except (UsageError, ValueError) as error:
            if say is not None:
                say(f"{experiment.name}: no curve over {field}: {error}")
            continue
        for side, values in found.children.items():
            tree[f"{CURVES}/{field}/{side}"] = values
    return tree


def _curve(
    experiment: Experiment, values: Mapping[str, Any], over: Mapping[str, list], field: str, number: int
) -> xarray.DataTree:
    """The predictions at `number` values of a field, from the smallest that was asked for to the largest, those included."""
    config = config_.build(experiment.Config, values)
    if field in over:
        return predict(experiment, config, over={**over, field: dense(over[field], number)})
    listed = config_.as_dict(config)[field]
    config = config_.replace(config, {field: dense(listed, number)})
    return _called(Request(experiment, config, over, seeds=1).plan())


def dense(values: Any, number: int) -> tuple:
    """At least `number` values over the range of these, and these; of whole numbers all there are, if those are fewer.

    >>> dense((0.0, 2.0, 3.0), 4), dense((1, 4), 50)
    ((0.0, 1.0, 2.0, 3.0), (1, 2, 3, 4))
    """
    low, high = float(min(values)), float(max(values))
    even = np.geomspace if low > 0 and high >= _DECADE * low else np.linspace
    if not all(isinstance(value, int) for value in values):
        return tuple(sorted({*even(low, high, number)[1:-1].tolist(), *values}))
    if high - low < number:
        return tuple(range(min(values), max(values) + 1))
    finer = (np.rint(even(low, high, times * number)).astype(int).tolist() for times in itertools.count(1))
    return next(tuple(sorted({*one, *values})) for one in finer if len({*one, *values}) >= number)


def _called(plan: Plan) -> xarray.DataTree:
    """The predictions of a plan, called cell by cell: compiled, a list of many values would be as many programs."""
    experiment, pieces = plan.experiment, []
    for index, cell in enumerate(plan.cells):
        steps = recorded_steps(experiment, cell.config) if experiment.dynamics else None
        tail = () if steps is None else (steps,)
        variables: dict[tuple[str, str], tuple[tuple[str, ...], np.ndarray]] = {}
        with precision(True), jax.default_device(host()):
            for side, function in experiment.predictions.items():
                predicted = jax.device_get(function(experiment.as_given(cell.config), *tail))
                for name, field in experiment.fields.items():
                    if (leaf := getattr(predicted, name)) is not None:
                        axes = ("cell", *(("step",) if tail else ()), *field.axes)
                        variables[side, name] = axes, np.asarray(leaf, np.float64)[None]
        labels = coordinates(variables, labels_of(experiment, cell.config), steps)
        block = store.Block("prediction", [cell.name], [], np.zeros((1, 0), bool), variables, labels, {})
        pieces.append((block, [0], [index]))
    return merged(plan, pieces, (), provenance.new(plan, plan.cells[0].config, 0.0))
