"""`closedform reproduce`."""

from __future__ import annotations

import dataclasses

from .. import arguments
from ..sweeps.contract.request import Request
from ..sweeps.errors import on_stderr
from ._options import Computed as Options
from ._options import OfPaper, asked_for, seeds_of, silent


@dataclasses.dataclass
class Reproduce(OfPaper, Options):
    """Run what is missing of a paper, draw every figure, print the agreement table."""


def run(words: list[str]) -> int:
    chosen, done = arguments.read(Reproduce, words, "reproduce"), []
    from ..sweeps import Settings
    from ..sweeps.api import ask, failure_lines, sweep_plan
    from ._shown import Computed, verdict

    seeds, say = seeds_of(chosen.seeds), silent if chosen.quiet else on_stderr
    for experiment, config in asked_for(chosen):
        plan = ask(Request(experiment, config, experiment.grid, False, seeds, chosen.root_seed, chosen.results))
        result, failed = sweep_plan(plan, chosen.refresh, False, Settings(), not chosen.quiet, say)
        if chosen.quiet:
            for line in failure_lines(plan, failed):
                on_stderr(line)
        stem = chosen.results / (experiment.name + (f"-{chosen.preset}" if chosen.preset else ""))
        done.append(Computed(experiment, result, (), stem, len(failed)))
    return verdict(done, chosen)
