"""`closedform run`."""

from __future__ import annotations

from typing import Any

from .. import arguments
from ..sweeps.contract.experiment import names
from ..sweeps.contract.request import Request
from ..sweeps.errors import EveryCellFailed, on_stderr
from ..sweeps.results.failures import failure_of
from ._options import Executed, seeds_of, silent


def run(words: list[str]) -> int:
    found, chosen = arguments.experiment_and_options(words, "run", Executed)
    if found is None:
        return chosen
    from ..sweeps.api import ask, failures, files
    from ..sweeps.api import run as run_
    from ..sweeps.results.stock import take_stock
    from ._shown import Computed, shown, verdict

    options: dict[str, Any] = {"results": chosen.results, "root_seed": chosen.root_seed}
    seeds = seeds_of(chosen.seeds)
    asked = Request(found, chosen.config, seeds=seeds, **options)
    say = silent if chosen.quiet else on_stderr
    how = {"refresh": chosen.refresh, "settings": chosen.settings(), "progress": not chosen.quiet, "say": say}
    try:
        result = run_(found, chosen.config, seeds=seeds, **how, **options)
    except Exception as error:
        line, plan = failure_of(error).line, ask(asked)
        if all(failure.line != line for failure in failures(plan, take_stock(plan)).values()):
            raise  # not of the cell
        where = f"its traceback is kept in {shown(plan.home / 'failed')}"
        raise EveryCellFailed(f"{found.name} failed: {line}; {where}", 1) from error
    stored = files(ask(asked))
    own = found.name not in names()  # drawn as the fields say; a figure of ours that is over a grid does not show one cell
    stem = stored[0].with_suffix("") if stored and (own or not found.grid) else None
    return verdict([Computed(found, result, stored, stem)], chosen)
