"""The command line: `closedform list | run | reproduce | agree`."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_origin

import tyro

_COMMANDS = """usage: closedform COMMAND ...

  list                        every experiment: claim, source, size, cost
  run EXPERIMENT [options]    simulate and predict one experiment at any config; print where they agree
  reproduce PAPER [options]   run what is missing, draw every figure, print the agreement table
  agree PAPER [options]       the agreement table alone, from what is stored; exit code 1 on a disagreement

closedform COMMAND --help says more. PAPER is a paper (xor) or one of its experiments (xor/phases).
Results are kept in ./results (--results FOLDER): running a command again computes only what is missing."""


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
    """Compute again what was computed by other sources than those of now (kept aside, never mixed)."""


@dataclasses.dataclass
class Reproduce(_Computed):
    """Run what is missing of a paper, draw every figure, print the agreement table."""

    paper: tyro.conf.Positional[str] = dataclasses.field(kw_only=True)
    """A paper (xor) or one of its experiments (xor/phases)."""
    preset: str | None = None
    """Named sizes that the experiments offer beside the default."""


@dataclasses.dataclass
class Agree(_Stored):
    """Print the agreement table of what is stored; exit code 1 on a disagreement."""

    paper: tyro.conf.Positional[str] = dataclasses.field(kw_only=True)
    """A paper (xor) or one of its experiments (xor/phases)."""
    preset: str | None = None
    """Named sizes that the experiments offer beside the default."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 (a disagreement), 2 (bad request), 130 (interrupted)."""
    from .sweeps import UsageError

    words = list(sys.argv[1:] if arguments is None else arguments)
    commands: dict[str, Callable[[list[str]], int]] = {
        "list": _list,
        "run": _run,
        "reproduce": _reproduce,
        "agree": _agree,
    }
    try:
        if not words or words[0] in ("-h", "--help"):
            print(_COMMANDS)
            return 0 if words else 2
        if words[0] not in commands:
            from .sweeps.errors import unknown

            raise unknown("command", words[0], commands)
        return commands[words[0]](words[1:])
    except UsageError as error:
        print(f"closedform: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("closedform: interrupted; finished seeds are kept, the same command goes on from there", file=sys.stderr)
        return 130
    except BrokenPipeError:  # closedform list | head
        sys.stderr.close()
        return 0


def _list(words: list[str]) -> int:
    from .sweeps.report import experiment_table

    @dataclasses.dataclass
    class List:
        """List every experiment: claim, source, size, cost."""

    _parse(List, words, "list")
    _show(experiment_table())
    return 0


def _run(words: list[str]) -> int:
    from .sweeps import compare, find, run
    from .sweeps.config import leaves, parse, replace
    from .sweeps.errors import unknown
    from .sweeps.report import save_figure
    from .sweeps.runner import plan

    if not words or words[0].startswith("-"):
        print("usage: closedform run EXPERIMENT [--seeds N] [--preset NAME] [--config.FIELD VALUE ...]\n")
        print("closedform list shows the experiments; closedform run EXPERIMENT --help shows its fields.")
        return 0 if set(words) & {"-h", "--help"} else 2
    found = find(words[0])
    preset = next((words[i + 1] for i, word in enumerate(words[:-1]) if word == "--preset"), None)
    default = found.default_config(preset)
    known = {leaf.path: leaf for leaf in leaves(default)}
    values = {}
    for flag, text in zip(words, [*words[1:], ""], strict=True):
        if flag.startswith("--config."):  # checked here first: tyro's messages are boxes, ours one line
            path, _, inline = flag.removeprefix("--config.").replace("-", "_").partition("=")
            if path.removeprefix("no_") not in known and path not in known:
                raise unknown(f"field of {found.name}", path, known)
            if path in known and (known[path].annotation in (int, float) or get_origin(known[path].annotation) is Literal):
                values[path] = parse(path, inline or text, known[path].annotation)
    replace(default, values)

    @dataclasses.dataclass
    class Run(_Computed):
        experiment: tyro.conf.Positional[str] = dataclasses.field(kw_only=True)
        """Name of the experiment."""
        preset: str | None = None
        """Sizes to start from; see PRESETS in the module. Fields given by --config change them."""
        config: Any = default

    Run.__doc__ = found.about()["claim"]
    Run.__annotations__["config"] = found.module.Config  # known only now; tyro reads it
    chosen = _parse(Run, words, f"run {found.name}")
    options: dict[str, Any] = {"results": chosen.results, "root_seed": chosen.root_seed}
    result = run(found.module, chosen.config, seeds=chosen.seeds, refresh=chosen.refresh, **options)
    rows = compare(found, result)
    path = plan(found, chosen.config, None, chosen.root_seed, chosen.results)[0].path
    figures = [] if found.grid else save_figure(found.name, result, path.with_suffix(""))
    return _verdict(rows, [path, *figures])


def _reproduce(words: list[str]) -> int:
    from .sweeps import compare, find, names, run
    from .sweeps.report import save_figure

    chosen = _parse(Reproduce, words, "reproduce")
    rows, files = [], []
    for experiment in map(find, names(chosen.paper)):
        result = run(
            experiment.module,
            experiment.default_config(_offered(experiment, chosen)),
            seeds=chosen.seeds,
            over=experiment.grid,
            root_seed=chosen.root_seed,
            results=chosen.results,
            refresh=chosen.refresh,
        )
        rows += compare(experiment, result)
        stem = chosen.results / (experiment.name + (f"-{chosen.preset}" if chosen.preset else ""))
        files += save_figure(experiment.name, result, stem)
    return _verdict(rows, files)


def _agree(words: list[str]) -> int:
    from .sweeps import UsageError, compare, find, load, names

    chosen = _parse(Agree, words, "agree")
    rows = []
    for experiment in map(find, names(chosen.paper)):
        config = experiment.default_config(_offered(experiment, chosen))
        result = load(experiment.module, config, over=experiment.grid, root_seed=chosen.root_seed, results=chosen.results)
        if result is None:
            raise UsageError(
                f"{experiment.name}: not (all) computed in {chosen.results}; first: closedform reproduce {chosen.paper}"
            )
        rows += compare(experiment, result)
    return _verdict(rows, [])


def _offered(experiment: Any, chosen: Reproduce | Agree) -> str | None:
    """The chosen preset, where this experiment offers it; a preset that nobody offers is an error."""
    from .sweeps import find, names
    from .sweeps.errors import unknown

    if chosen.preset is None or chosen.preset == "quick":
        return chosen.preset
    offers = {name: set(getattr(find(name).module, "PRESETS", {})) for name in names(chosen.paper)}
    if chosen.preset not in set().union(*offers.values()):
        raise unknown(f"preset of {chosen.paper}", chosen.preset, {"quick"}.union(*offers.values()))
    return chosen.preset if chosen.preset in offers[experiment.name] else None


def _verdict(rows: list[Any], files: list[Path]) -> int:
    from .sweeps import agrees
    from .sweeps.report import agreement_table, diverged_lines

    _show(agreement_table(rows))
    for line in [*diverged_lines(rows), *map(str, files)]:
        print(line)
    return 0 if agrees(rows) else 1


def _parse(kind: type, words: list[str], command: str) -> Any:
    """`tyro.cli`, with its boxed errors folded into one line."""
    from .sweeps import UsageError

    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(kind, args=words, prog=f"closedform {command}")
    except SystemExit as end:
        if not end.code:
            raise
        inside = [re.sub(r"[│╭╮╰╯]", "", line).strip() for line in box.getvalue().split("\n")]
        inside = inside[1:] if inside and "─" in inside[0] else inside
        message = " ".join(line for line in inside[: next((i for i, line in enumerate(inside) if "──" in line), None)] if line)
        raise UsageError(f"{message} (closedform {command} --help)") from None


def _show(table: Any) -> None:
    from rich.console import Console

    width = shutil.get_terminal_size((140, 24)).columns
    Console(width=max(width, 100)).print(table)


if __name__ == "__main__":
    sys.exit(main())
