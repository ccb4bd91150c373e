"""`closedform sweep`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import arguments
from ..sweeps.contract.experiment import names
from ..sweeps.contract.request import Request
from ..sweeps.errors import UsageError, on_stderr
from ._options import Swept, seeds_of, silent

if TYPE_CHECKING:
    from ..sweeps import Launcher


def run(words: list[str]) -> int:
    found, chosen = arguments.experiment_and_options(words, "sweep", Swept)
    if found is None:
        return chosen
    from ..sweeps.api import ask, failure_lines, sweep_plan
    from ..sweeps.cluster import end, submit
    from ..sweeps.results.notes import write_whole
    from ._shown import Computed, verdict

    _check_launcher(words, chosen.launcher)
    asked: dict[str, Any] = {
        "over": arguments.axes(chosen.over, found, chosen.config, words),
        "zipped": chosen.zip,
        "seeds": seeds_of(chosen.seeds),
        "root_seed": chosen.root_seed,
        "results": chosen.results,
    }
    plan = ask(Request(found, chosen.config, **asked))
    if chosen.launcher != "none":
        how = {"refresh": chosen.refresh, "retry_failed": chosen.retry_failed, "settings": chosen.settings()}
        jobs = submit(words[0], found.as_given(chosen.config), launcher=_launcher(chosen), **asked, **how)
        if chosen.launcher == "slurm":
            number = jobs[0].job_id.partition("_")[0]
            print(f"submitted job {number}: {len(jobs)} processes; closedform status shows how far they are,")
            print("the same command without --launcher prints the agreement table when they are done")
            return 0
        try:
            for job in jobs:
                job.wait()
        except KeyboardInterrupt:
            end(jobs)
            raise
    retry = chosen.retry_failed and chosen.launcher == "none"  # else the launched processes have done so
    say = silent if chosen.quiet else on_stderr
    result, failed = sweep_plan(plan, chosen.refresh, retry, chosen.settings(), not chosen.quiet, say)
    if chosen.quiet:
        for line in failure_lines(plan, failed):
            on_stderr(line)
    path = write_whole(plan, result)
    drawn = path is not None and (found.name not in names() or (found.grid and set(found.grid) == set(asked["over"])))
    files = [] if path is None else [path]
    stem = path.with_suffix("") if path is not None and drawn else None
    return verdict([Computed(found, result, files, stem, len(failed))], chosen)


def _launcher(chosen: Swept) -> Launcher:
    from ..sweeps import Launcher

    pairs = [pair.partition("=") for pair in chosen.slurm]
    if wrong := [name for name, equals, _ in pairs if not (name and equals)]:
        raise UsageError(f"slurm: got {wrong[0]!r}; allowed: NAME=VALUE, an option of sbatch")
    return Launcher(
        chosen.launcher,  # type: ignore[arg-type]
        chosen.nodes,
        chosen.time,
        chosen.cpus,
        chosen.gpus,
        chosen.memory,
        chosen.partition,
        {name: value for name, _, value in pairs},
    )


_OF_A_LAUNCHER = ("nodes", "time", "cpus", "gpus", "memory", "partition", "slurm")


def _check_launcher(words: list[str], launcher: str) -> None:
    """Refuse options that say how processes are launched where none are, and Slurm's where there is no Slurm."""
    idle = {"none": _OF_A_LAUNCHER, "local": ("partition", "slurm")}.get(launcher, ())
    if said := [name for name in arguments.flags(words) if name in idle]:
        allowed = "--launcher local or slurm" if launcher == "none" else "--launcher slurm"
        raise UsageError(f"{said[0]}: --{said[0]} is of processes that are launched; allowed: with {allowed}")
