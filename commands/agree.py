"""`closedform agree`."""

from __future__ import annotations

import dataclasses
from typing import Any

from .. import arguments, sweeps
from ..sweeps.contract.config import build
from ..sweeps.contract.experiment import Experiment
from ..sweeps.contract.names import is_file
from ..sweeps.contract.request import Request
from ..sweeps.errors import EveryCellFailed, UsageError, on_stderr
from ._options import OfPaper, Stored, asked_for


@dataclasses.dataclass
class Agree(OfPaper, Stored):
    """Print the agreement table of what is stored; exit code 1 on a disagreement."""

    csv: bool = False
    """Every row with all digits as comma-separated values, and nothing else."""


def run(words: list[str]) -> int:
    chosen, stored = arguments.read(Agree, words, "agree"), []
    from ..sweeps.api import ask, failures
    from ..sweeps.results.report import agreement_csv, worst_first
    from ..sweeps.results.stock import take_stock
    from ._shown import Computed, code_of, verdict

    for experiment, config in asked_for(chosen):
        asked: dict[str, Any] = {"over": experiment.grid, "root_seed": chosen.root_seed, "results": chosen.results}
        if is_file(chosen.paper) and not experiment.grid and chosen.preset is None:
            found = _own_results(experiment, chosen)
        else:
            found = [sweeps.load(experiment, config, **asked)]
        if not found or found[0] is None:
            plan = ask(Request(experiment, config, **asked))
            failed = failures(plan, take_stock(plan))
            if len(failed) == len(plan.cells):
                raise EveryCellFailed(f"{experiment.name}: every cell failed; the first: {failed[0].line}", len(failed))
            raise UsageError(
                f"{experiment.name}: not (all) computed in {chosen.results}; first: closedform reproduce {chosen.paper}"
            )
        mine = [Computed(experiment, result) for result in found]
        if experiment.predictions and not all(one.rows for one in mine):
            raise UsageError(f"{experiment.name}: its prediction is not computed; first: closedform reproduce {chosen.paper}")
        stored += mine
    if not chosen.csv:
        return verdict(stored, chosen)
    rows = [row for one in stored for row in one.rows]
    print(agreement_csv(worst_first(rows)), end="")
    return code_of(stored, rows)


def _own_results(experiment: Experiment, chosen: Agree) -> list[Any]:
    """Every stored result of the user's own code that is of a config as the code has it now."""
    from ..sweeps.results.catalogue import stored_results

    found = []
    for stored in stored_results(chosen.results, experiment.name):
        asked = stored.asked
        if stored.experiment.name != experiment.name or asked["root_seed"] != chosen.root_seed:
            continue
        try:
            config = build(experiment.Config, asked["config"])
        except (UsageError, KeyError, TypeError, ValueError):
            on_stderr(f"{experiment.name}: a result at {asked['config']} is of another config than that of now, left out")
            continue
        how = {"over": asked["over"], "zipped": asked["zipped"], "root_seed": chosen.root_seed, "results": chosen.results}
        found.append(sweeps.load(experiment, config, **how))
    return [result for result in found if result is not None]
