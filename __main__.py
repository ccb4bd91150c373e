"""The command line: `closedform list | run | sweep | predict | status | reproduce | agree | report | cite`."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from . import console

with console.leaving_quietly():
    import tyro

    from . import arguments

_COMMANDS = """usage: closedform COMMAND ...

  list [PAPER]                every paper; or its experiments: claim, source, size, cost
  run EXPERIMENT [options]    simulate and predict one experiment at any config; print where they agree
  sweep EXPERIMENT --over FIELD=V1,V2 ...
                              the same over a grid, here or on a cluster; goes on where it was stopped
  predict EXPERIMENT --over FIELD=V1,V2 ...
                              theory alone over a grid, without simulating: a table, and a file if --output names one
  status [EXPERIMENT]         every sweep of the results folder: what is done, running, waiting, failed
  reproduce PAPER [options]   run what is missing, draw every figure, print the agreement table
  agree PAPER [options]       the agreement table alone, from what is stored; exit code 1 on a disagreement
  report [EXPERIMENT]         all stored results as one page to open or send: figures, agreement, configs, origin
  cite NAME ... [--plain]     BibTeX of the papers behind a paper, an experiment, a module, a result file or a results folder

closedform COMMAND --help says more. EXPERIMENT is an experiment (xor/phases), a file of your own (my_paper.py), or a function
of it (my_model.py:simulate). PAPER is a paper (xor) or any of these; status and report take a paper too.
Results are kept in ./results (--results FOLDER): running a command again computes only what is missing.
Exit codes: 0 agrees, 1 disagrees, 2 wrong request, 3 failed cells, 4 stale, 70 internal error, 130 interrupted."""

_ROWS_SHOWN = 200  # of an agreement table
_SAME_WISH_SECONDS = 1.0  # between two interruptions that count as one


@dataclasses.dataclass
class _Stored:
    results: Path = Path("results")
    """Folder of the results."""
    root_seed: int = 0
    """Seed i of a run uses fold_in(key(root_seed), i)."""


@dataclasses.dataclass
class _Computed(_Stored):
    seeds: int | None = None
    """How many seeds; the experiment's own number if not given. More seeds later keep the first as they are."""
    refresh: bool = False
    """Compute again what was computed by an earlier version of the code (never mixed with new results)."""


@dataclasses.dataclass
class _Executed(_Computed):
    preset: str | None = None
    """Sizes to start from; see PRESETS in the module. Fields given by --config change them."""
    threads: int | None = None
    """Threads of a CPU; one a core if not given."""
    block: int | None = None
    """Runs in a block; as many as suit the device and its memory if not given."""
    chunk: int | None = None
    """Steps between two looks at the clock; about half a second's worth if not given."""
    checkpoint_minutes: float = 5.0
    """Time between two checkpoints of a run."""


@dataclasses.dataclass
class _Swept(_Executed):
    over: tyro.conf.UseAppendAction[list[str]] = dataclasses.field(default_factory=list)
    """FIELD=V1,V2,...: one axis of the grid; repeat it for more."""
    zip: bool = False
    """Walk the lists of --over side by side, as pairs, instead of their product."""
    retry_failed: bool = False
    """Run cells again that raised before."""
    launcher: Literal["none", "local", "slurm"] = "none"
    """Compute here; in several processes of this machine; or as one Slurm array job (extra: cluster)."""
    nodes: int = 2
    """Processes of the launcher; under Slurm each gets a node or a share of one."""
    time: int = 60
    """Minutes that a process may take; under Slurm it is then requeued and goes on."""
    cpus: int | None = None
    """Cores of a process."""
    gpus: int = 0
    """Accelerators of a process."""
    memory: float | None = None
    """Gigabytes of a process."""
    partition: str | None = None
    """Slurm partition."""
    slurm: tyro.conf.UseAppendAction[list[str]] = dataclasses.field(default_factory=list)
    """NAME=VALUE: a further option of sbatch, such as account=theory; repeat it for more."""


@dataclasses.dataclass
class Reproduce(_Computed):
    """Run what is missing of a paper, draw every figure, print the agreement table."""

    paper: tyro.conf.Positional[str] = dataclasses.field(kw_only=True)
    """A paper (xor), one of its experiments (xor/phases), or a file of your own (my_paper.py, my_model.py:simulate)."""
    preset: str | None = None
    """Named sizes that experiments offer beside the default; one that does not offer them is left out."""


@dataclasses.dataclass
class Agree(_Stored):
    """Print the agreement table of what is stored; exit code 1 on a disagreement."""

    paper: tyro.conf.Positional[str] = dataclasses.field(kw_only=True)
    """A paper (xor), one of its experiments (xor/phases), or a file of your own (my_paper.py, my_model.py:simulate)."""
    preset: str | None = None
    """Named sizes that experiments offer beside the default; one that does not offer them is left out."""


@dataclasses.dataclass
class Cite:
    """Print BibTeX of the papers behind something, ready to append to a .bib file; the last entry is this package."""

    names: tyro.conf.Positional[list[str]] = dataclasses.field(default_factory=list)
    """Papers (xor), experiments (xor/phases), modules (theory/feature_learning/xor), result files (*.nc), results folders,
    files of your own (my_model.py)."""
    plain: bool = False
    """One readable line for each: authors, title, where it appeared, year."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Where several apply, the first of 130, 70, 2, 3, 1, 4 counts.

    0: it agrees; 1: a row disagrees, or has nothing left to compare; 2: a wrong request; 3: cells failed; 4: what is shown was
    computed by an earlier version of the code; 130: interrupted; 70: an internal error, its traceback in a file.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    code = console.guarded(lambda: _command(words))
    executor = sys.modules.get(f"{__package__}.sweeps.engine.executor")
    if code == console.INTERRUPTED and executor is not None and executor.still_running():
        os._exit(code)  # it was interrupted again: Python would wait for the threads all the same
    return code


def _command(words: list[str]) -> int:
    commands: dict[str, Callable[[list[str]], int]] = {
        "list": _list,
        "run": _run,
        "sweep": _sweep,
        "predict": _predict,
        "status": _status,
        "reproduce": _reproduce,
        "agree": _agree,
        "report": _report,
        "cite": _cite,
    }
    if not words or words[0] in ("-h", "--help"):
        print(_COMMANDS)
        return 0 if words else console.REFUSED
    if words[0] not in commands:
        from .sweeps.errors import unknown

        raise unknown("command", words[0], commands)
    with interruptible():
        if words[0] not in ("list", "status", "cite"):
            from .sweeps.contract.precision import check_platforms, settle

            settle()
            check_platforms()
        with console.drawing_to_files():
            return commands[words[0]](words[1:])


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM (a cluster, a machine that shuts down) and SIGHUP (a closed terminal) interrupt as Ctrl-C does.

    What follows within a second is the same wish: a key pressed twice must not cut short the storing of what there is.
    """
    before, last = {}, -math.inf

    def interrupt(number: int, frame: Any) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= _SAME_WISH_SECONDS:
            last = now
            raise KeyboardInterrupt

    try:
        with contextlib.suppress(ValueError):  # not in the main thread: nothing to hear
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # Windows has no SIGHUP; nohup ignores it, and that stays
                if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                    before[number] = signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _list(words: list[str]) -> int:
    from .sweeps.results.report import experiment_table, paper_table

    @dataclasses.dataclass
    class List:
        """List the papers; or the experiments of one: claim, source, size, cost."""

        paper: tyro.conf.Positional[str | None] = None
        """A paper (xor), or one of its experiments (xor/phases)."""

    chosen = arguments.read(List, words, "list")
    _show(paper_table() if chosen.paper is None else experiment_table(chosen.paper))
    return 0


def _run(words: list[str]) -> int:
    from .sweeps import compare, run
    from .sweeps.api import ask, failures, files
    from .sweeps.contract.request import Request
    from .sweeps.errors import EveryCellFailed
    from .sweeps.results.failures import failure_of
    from .sweeps.results.stock import take_stock

    found, chosen = arguments.experiment_and_options(words, "run", _Executed)
    if found is None:
        return chosen
    options: dict[str, Any] = {"results": chosen.results, "root_seed": chosen.root_seed}
    how = {"seeds": chosen.seeds, "refresh": chosen.refresh, "settings": _settings(chosen)}
    asked = Request(found, chosen.config, seeds=chosen.seeds, **options)
    try:
        result = run(found, chosen.config, **how, **options)
    except Exception as error:
        line, plan = failure_of(error).line, ask(asked)
        if all(failure.line != line for failure in failures(plan, take_stock(plan)).values()):
            raise  # not of the cell
        where = f"its traceback is kept in {_shown(plan.home / 'failed')}"
        raise EveryCellFailed(f"{found.name} failed: {line}; {where}", 1) from error
    stored = files(ask(asked))
    figures = [] if found.grid or not stored else [partial(_draw, found, result, stored[0].with_suffix(""))]
    return _verdict(compare(found, result), stored, figures, _is_stale(result))


def _sweep(words: list[str]) -> int:
    from .sweeps import UsageError, compare, submit
    from .sweeps.api import ask, sweep_plan
    from .sweeps.cluster import Launcher, end
    from .sweeps.contract.request import Request
    from .sweeps.results.notes import write_whole

    found, chosen = arguments.experiment_and_options(words, "sweep", _Swept)
    if found is None:
        return chosen
    _check_launcher(words, chosen.launcher)
    asked: dict[str, Any] = {
        "over": arguments.axes(chosen.over, found, chosen.config, words),
        "zipped": chosen.zip,
        "seeds": chosen.seeds,
        "root_seed": chosen.root_seed,
        "results": chosen.results,
    }
    plan = ask(Request(found, chosen.config, **asked))
    if chosen.launcher != "none":
        pairs = [pair.partition("=") for pair in chosen.slurm]
        if wrong := [name for name, equals, _ in pairs if not (name and equals)]:
            raise UsageError(f"slurm: got {wrong[0]!r}; allowed: NAME=VALUE, an option of sbatch")
        launcher = Launcher(
            chosen.launcher,
            chosen.nodes,
            chosen.time,
            chosen.cpus,
            chosen.gpus,
            chosen.memory,
            chosen.partition,
            {name: value for name, _, value in pairs},
        )
        how = {"refresh": chosen.refresh, "retry_failed": chosen.retry_failed, "settings": _settings(chosen)}
        config = found.as_given(chosen.config)
        jobs = submit(words[0], config, launcher=launcher, **asked, **how)
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
    result, failed = sweep_plan(plan, chosen.refresh, retry, _settings(chosen))
    path = write_whole(plan, result)
    figures = []
    if path is not None and found.grid and set(found.grid) == set(asked["over"]):
        figures.append(partial(_draw, found, result, path.with_suffix("")))
    return _verdict(compare(found, result), [] if path is None else [path], figures, _is_stale(result), len(failed))


_OF_A_LAUNCHER = ("nodes", "time", "cpus", "gpus", "memory", "partition", "slurm")


def _check_launcher(words: list[str], launcher: str) -> None:
    """Refuse options that say how processes are launched where none are, and Slurm's where there is no Slurm."""
    from .sweeps import UsageError

    idle = {"none": _OF_A_LAUNCHER, "local": ("partition", "slurm")}.get(launcher, ())
    if said := [name for name in arguments.flags(words) if name in idle]:
        allowed = "--launcher local or slurm" if launcher == "none" else "--launcher slurm"
        raise UsageError(f"{said[0]}: --{said[0]} is of processes that are launched; allowed: with {allowed}")


def _predict(words: list[str]) -> int:
    from .sweeps import predict
    from .sweeps.results.report import prediction_table
    from .sweeps.results.store import write_tree

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

    found, chosen = arguments.experiment_and_options(words, "predict", Predict)
    if found is None:
        return chosen
    if chosen.output is not None:
        arguments.check_output(chosen.output)
    result = predict(found, chosen.config, over=arguments.axes(chosen.over, found, chosen.config, words), zipped=chosen.zip)
    _show(prediction_table(result))
    if chosen.output is not None:
        write_tree(chosen.output, result)
        print(_shown(chosen.output))
    return 0


def _status(words: list[str]) -> int:
    from .sweeps.errors import on_stderr
    from .sweeps.results.catalogue import sweeps_of
    from .sweeps.results.report import status_lines

    @dataclasses.dataclass
    class Status:
        """Every sweep of the results folder: what is done, running, waiting, failed, and what is left."""

        experiment: tyro.conf.Positional[str | None] = None
        """An experiment or a paper; all if not given."""
        results: Path = Path("results")
        """Folder of the results."""

    chosen = arguments.read(Status, words, "status")
    shown, unread = False, []
    for one in sweeps_of(chosen.results, _kept_as(chosen.experiment), unread.append):
        shown = True
        for line in status_lines(one):
            print(line)
    for line in unread:
        on_stderr(f"closedform: {line}")
    if unread:
        return 2
    if not shown:
        print(f"no sweeps in {chosen.results}" + (f" of {chosen.experiment}" if chosen.experiment else ""))
    return 0


def _settings(chosen: _Executed) -> Any:
    from .sweeps import Settings

    return Settings(
        threads=chosen.threads, block=chosen.block, chunk=chosen.chunk, checkpoint_minutes=chosen.checkpoint_minutes
    )


def _reproduce(words: list[str]) -> int:
    from .sweeps import Settings, compare
    from .sweeps.api import ask, sweep_plan
    from .sweeps.contract.request import Request

    chosen = arguments.read(Reproduce, words, "reproduce")
    rows, figures, stale, lost = [], [], False, 0
    for experiment, config in _asked_for(chosen):
        asked = Request(experiment, config, experiment.grid, False, chosen.seeds, chosen.root_seed, chosen.results)
        result, failed = sweep_plan(ask(asked), chosen.refresh, False, Settings())
        lost += len(failed)
        stale |= _is_stale(result)
        rows += compare(experiment, result)
        stem = chosen.results / (experiment.name + (f"-{chosen.preset}" if chosen.preset else ""))
        figures.append(partial(_draw, experiment, result, stem))
    return _verdict(rows, [], figures, stale, lost)


def _agree(words: list[str]) -> int:
    from .sweeps import UsageError, compare, load
    from .sweeps.api import ask, failures
    from .sweeps.contract.names import is_file
    from .sweeps.contract.request import Request
    from .sweeps.errors import EveryCellFailed
    from .sweeps.results.stock import take_stock

    chosen = arguments.read(Agree, words, "agree")
    rows, stale = [], False
    for experiment, config in _asked_for(chosen):
        if is_file(chosen.paper) and not experiment.grid and chosen.preset is None:
            results = _own_results(experiment, chosen)
        else:
            results = [load(experiment, config, over=experiment.grid, root_seed=chosen.root_seed, results=chosen.results)]
        if not results or results[0] is None:
            plan = ask(Request(experiment, config, experiment.grid, False, None, chosen.root_seed, chosen.results))
            failed = failures(plan, take_stock(plan))
            if len(failed) == len(plan.cells):
                raise EveryCellFailed(f"{experiment.name}: every cell failed; the first: {failed[0].line}", len(failed))
            raise UsageError(
                f"{experiment.name}: not (all) computed in {chosen.results}; first: closedform reproduce {chosen.paper}"
            )
        for result in results:
            assert result is not None
            stale |= _is_stale(result)
            rows += compare(experiment, result)
    return _verdict(rows, [], [], stale)


def _asked_for(chosen: Reproduce | Agree) -> list[tuple[Any, Any]]:
    """The experiments of a paper, or a file of the user's own, with configs; what lacks the preset is left out, and said."""
    from .sweeps import find, names
    from .sweeps.contract.names import is_file
    from .sweeps.contract.request import resolve
    from .sweeps.errors import on_stderr, unknown

    found = [resolve(chosen.paper)] if is_file(chosen.paper) else [(find(name), None) for name in names(chosen.paper)]
    preset = chosen.preset
    if preset is not None and not any(preset in experiment.presets for experiment, _ in found):
        offers = set().union(*(experiment.presets for experiment, _ in found))
        raise unknown(f"preset of {chosen.paper}", preset, offers)
    for experiment, _ in found:
        if preset is not None and preset not in experiment.presets:
            on_stderr(f"{experiment.name}: has no preset {preset!r}, left out")
    offering = [one for one in found if preset is None or preset in one[0].presets]
    return [(experiment, experiment.default_config(preset, config)) for experiment, config in offering]


def _own_results(experiment: Any, chosen: Agree) -> list[Any]:
    """Every stored result of the user's own code that is of a config as the code has it now."""
    from .sweeps import UsageError, load
    from .sweeps.contract.config import build
    from .sweeps.errors import on_stderr
    from .sweeps.results.catalogue import stored_results

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
        found.append(load(experiment, config, **how))
    return [result for result in found if result is not None]


def _report(words: list[str]) -> int:
    from .gallery.entries import entry
    from .gallery.pages import report
    from .sweeps import UsageError
    from .sweeps.errors import on_stderr, plain
    from .sweeps.results.catalogue import stored_results
    from .sweeps.results.store import write_bytes

    @dataclasses.dataclass
    class Report:
        """Write every stored result (claim, figure, agreement, config, origin) as one HTML page that needs no other file."""

        experiment: tyro.conf.Positional[str | None] = None
        """An experiment, a paper or a file of your own; all if not given."""
        results: Path = Path("results")
        """Folder of the results."""
        output: Path = Path("report.html")
        """The page."""

    chosen = arguments.read(Report, words, "report")
    arguments.check_output(chosen.output)
    if not chosen.results.is_dir():
        raise UsageError(f"results: no folder {chosen.results}; first: closedform reproduce xor")
    entries, code = [], 0
    for stored in sorted(
        stored_results(chosen.results, _kept_as(chosen.experiment)), key=lambda stored: stored.experiment.name
    ):
        try:
            entries.append(entry(stored))
        except Exception as error:  # one result that cannot be shown must not hide the others
            code, why = console.INTERNAL, f"{type(error).__name__}: {error}; {console.kept(error)}"
            on_stderr(f"closedform: {stored.experiment.name} cannot be shown: {why}")
            continue
        print(f"{plain(entries[-1].name)}: {entries[-1].verdict}")
    if not entries and not code:
        raise UsageError(f"no results in {chosen.results}" + (f" of {chosen.experiment}" if chosen.experiment else ""))
    write_bytes(chosen.output, report(entries, _shown(chosen.results)).encode())
    print(_shown(chosen.output))
    return code


def _kept_as(experiment: str | None) -> str | None:
    """The name under which the results are kept of what was typed, or None for everything."""
    from .sweeps.contract.functions import kept_as

    return None if experiment is None else kept_as(experiment)


def _cite(words: list[str]) -> int:
    from .gallery import bibliography
    from .sweeps import UsageError

    chosen = arguments.read(Cite, words, "cite")
    if not chosen.names:
        raise UsageError("cite: got no name; allowed: one or more papers, experiments, modules, result files, results folders")

    def say(message: str) -> None:
        print(f"closedform: {message}", file=sys.stderr)

    keys = [key for name in chosen.names for key in bibliography.behind(name, say)]
    found = [bibliography.entries()[key] for key in dict.fromkeys([*keys, bibliography.OWN])]
    if chosen.plain:
        print("\n".join(map(bibliography.plain, found)))
    else:
        print("\n\n".join(entry.text for entry in found))
    return 0


def _is_stale(result: Any) -> bool:
    """Whether a result was computed by an earlier version of the code."""
    from .sweeps import provenance

    return bool(getattr(result, "attrs", None)) and bool(provenance(result).get("stale"))


def _draw(experiment: Any, result: Any, stem: Path) -> list[Path]:
    """The files of the figure of a result, with theory as a curve."""
    from .sweeps import with_theory
    from .sweeps.results.report import save_figure

    return save_figure(experiment.name, with_theory(experiment, result), stem)


def _verdict(rows: list[Any], files: list[Path], figures: list[Callable[[], list[Path]]], stale: bool, failed: int = 0) -> int:
    """Print the table and the files, then draw the figures; the exit code that they come to."""
    from .sweeps import UsageError, agrees
    from .sweeps.errors import on_stderr
    from .sweeps.results.agreement import FAILED
    from .sweeps.results.report import agreement_table, diverged_lines, worst_first

    shown = worst_first(rows)[:_ROWS_SHOWN] if len(rows) > _ROWS_SHOWN else rows
    _show(agreement_table(shown))
    if len(shown) < len(rows):
        agreeing = sum(row.verdict == "agrees" for row in rows)
        print(f"{agreeing} of {len(rows)} rows agree; shown are the {len(shown)} that are worst relative to their allowance")
    for line in [*diverged_lines(rows), *map(_shown, files)]:
        print(line)
    sys.stdout.flush()
    for draw in figures:
        try:
            for path in draw():
                print(_shown(path))
        except UsageError:
            raise
        except Exception as error:  # what was computed is stored, and the table says it
            on_stderr(f"closedform: a figure cannot be drawn: {type(error).__name__}: {error}; {console.kept(error)}")
    codes = {
        console.FAILED: failed > 0 or any(row.verdict == FAILED for row in rows),
        console.DISAGREES: not agrees(rows),
        console.STALE: stale,
    }
    return console.gravest(code for code, holds in codes.items() if holds)


def _shown(path: Path) -> str:
    """A path as a person in this folder would write it."""
    from .sweeps.errors import plain

    return plain(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def _show(table: Any) -> None:
    from rich.console import Console

    width = shutil.get_terminal_size((140, 24)).columns
    Console(width=max(width, 100)).print(table)


if __name__ == "__main__":
    sys.exit(main())
