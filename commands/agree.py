"""`closedform agree`."""

from __future__ import annotations

import dataclasses

from .. import arguments, sweeps
from ..sweeps import UsageError, find, names
from ..sweeps.api import ask, failures
from ..sweeps.contract.request import Request
from ..sweeps.errors import EveryCellFailed
from ..sweeps.results.report import agreement_csv, worst_first
from ..sweeps.results.stock import take_stock
from ._options import OfPaper, Stored, offered
from ._shown import Computed, code_of, verdict


@dataclasses.dataclass
class Agree(OfPaper, Stored):
    """Print the agreement table of what is stored; exit code 1 on a disagreement."""

    csv: bool = False
    """Every row with all digits as comma-separated values, and nothing else."""


def run(words: list[str]) -> int:
    chosen, stored = arguments.read(Agree, words, "agree"), []
    for experiment in map(find, names(chosen.paper)):
        config = experiment.default_config(offered(experiment, chosen))
        asked = {"over": experiment.grid, "root_seed": chosen.root_seed, "results": chosen.results}
        result = sweeps.load(experiment, config, **asked)
        if result is None:
            plan = ask(Request(experiment, config, **asked))
            failed = failures(plan, take_stock(plan))
            if len(failed) == len(plan.cells):
                raise EveryCellFailed(f"{experiment.name}: every cell failed; the first: {failed[0].line}", len(failed))
            raise UsageError(
                f"{experiment.name}: not (all) computed in {chosen.results}; first: closedform reproduce {chosen.paper}"
            )
        stored.append(one := Computed(experiment, result))
        if experiment.predictions and not one.rows:
            raise UsageError(f"{experiment.name}: its prediction is not computed; first: closedform reproduce {chosen.paper}")
    if not chosen.csv:
        return verdict(stored, chosen)
    rows = [row for one in stored for row in one.rows]
    print(agreement_csv(worst_first(rows)), end="")
    return code_of(stored, rows)
