"""`closedform predict`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro

from .. import arguments
from ._terminal import ROWS_SHOWN, show, shown


@dataclasses.dataclass
class Predict:
    """The predictions of an experiment alone, over a grid: a table of their values."""

    preset: str | None = None
    """Sizes to start from; see PRESETS in the module. Fields given by --config change them."""
    over: tyro.conf.UseAppendAction[list[str]] = dataclasses.field(default_factory=list)
    """FIELD=V1,V2,...: one axis of the grid; repeat it for more."""
    zip: bool = False
    """Walk the lists side by side instead of all combinations."""
    output: Path | None = None
    """Also write them as a netCDF file, with labelled axes."""
    all: bool = False
    """Every line of the table; else the first 20."""


def run(words: list[str]) -> int:
    found, chosen = arguments.experiment_and_options(words, "predict", Predict)
    if found is None:
        return chosen
    from ..sweeps.api import predict
    from ..sweeps.results.report import prediction_table
    from ..sweeps.results.store import write_tree

    if chosen.output is not None:
        arguments.check_output(chosen.output)
    over = arguments.axes(chosen.over, found, chosen.config, words)
    result = predict(found, chosen.config, over=over, zipped=chosen.zip)
    show(prediction_table(result, None if chosen.all else ROWS_SHOWN))
    if chosen.output is not None:
        write_tree(chosen.output, result)
        print(shown(chosen.output))
    return 0
