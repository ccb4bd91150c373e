"""`closedform report`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from .. import arguments, console
from ..arguments import Positional
from ..sweeps.contract.names import kept_as
from ..sweeps.errors import UsageError, on_stderr, plain
from ._terminal import shown


@dataclasses.dataclass
class Report:
    """Write every stored result (claim, figure, agreement, config, origin) as one HTML page that needs no other file."""

    experiment: Positional[str | None] = None
    """An experiment, a paper or a file of your own; all if not given."""
    results: Path = Path("results")
    """Folder of the results."""
    output: Path = Path("report.html")
    """The page."""


def run(words: list[str]) -> int:
    chosen = arguments.read(Report, words, "report")
    from ..gallery.entries import entry
    from ..gallery.pages import report
    from ..sweeps.results.catalogue import stored_results
    from ..sweeps.results.store import write_bytes

    arguments.check_output(chosen.output)
    if not chosen.results.is_dir():
        raise UsageError(f"results: no folder {chosen.results}; first: closedform reproduce xor")
    entries, code = [], 0
    named = chosen.experiment and kept_as(chosen.experiment)
    for stored in sorted(stored_results(chosen.results, named), key=lambda stored: stored.experiment.name):
        try:
            entries.append(entry(stored))
        except Exception as error:  # one result that cannot be shown must not hide the others
            code, why = console.INTERNAL, f"{type(error).__name__}: {error}; {console.kept(error)}"
            on_stderr(f"closedform: {stored.experiment.name} cannot be shown: {why}")
            continue
        print(plain(" ".join(filter(None, (entries[-1].name, entries[-1].asked)))) + f": {entries[-1].verdict}")
    if not entries and not code:
        raise UsageError(f"no results in {chosen.results}" + (f" of {chosen.experiment}" if chosen.experiment else ""))
    write_bytes(chosen.output, report(entries, shown(chosen.results)).encode())
    print(shown(chosen.output))
    return code
