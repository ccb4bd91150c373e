"""The command line: `closedform list | run | sweep | predict | status | reproduce | agree | report | cite | prune`."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from . import commands, console

_USAGE = """usage: closedform COMMAND ...

  list [PAPER]         the papers; or the experiments of one: claim and cost
  run EXPERIMENT       simulate and predict one experiment at any config
  sweep EXPERIMENT --over FIELD=V1,V2 ...
                       the same over a grid, here or on a cluster; goes on where
                       it was stopped
  predict EXPERIMENT --over FIELD=V1,V2 ...
                       theory alone over a grid, without simulating
  status [EXPERIMENT]  every sweep: what is done, running, waiting, failed
  reproduce PAPER      run what is missing, draw every figure, print where
                       theory and simulation agree
  agree PAPER          the agreement table of what is stored
  report [EXPERIMENT]  all stored results as one page to open or send
  cite NAME ...        BibTeX of the papers behind a paper, an experiment,
                       a module, a result file or a results folder
  prune [EXPERIMENT]   stored files that are stale or superseded; with --remove
                       they are removed

closedform COMMAND --help says more; closedform --version what is installed.
EXPERIMENT is an experiment (xor/phases), a file of your own (my_paper.py) or a
function of it (my_model.py:simulate). PAPER is a paper (xor) or any of these;
status, report and prune take a paper too.

Results are kept in ./results (--results FOLDER): running a command again
computes only what is missing. Exit codes: 0 agrees, 1 disagrees, 2 wrong
request, 3 failed cells, 4 stale, 70 internal error, 130 interrupted."""

_SAME_WISH_SECONDS = 1.0  # between two interruptions that count as one


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
    if not words or words[0] in ("-h", "--help"):
        print(_USAGE)
        return 0 if words else console.REFUSED
    if words[0] == "--version":
        print(_version())
        return 0
    with console.leaving_quietly():
        command = commands.find(words[0])
        precision = _engine() if commands.computes(words[0], words[1:]) else None
    with interruptible():
        if precision is not None:
            precision.settle()
            precision.check_platforms()
        with console.drawing_to_files():
            return command(words[1:])


def _engine() -> ModuleType:
    """Import the engine, and JAX with it; returns the module of its precision."""
    from .sweeps import api  # noqa: F401
    from .sweeps.contract import precision

    return precision


def _version() -> str:
    from importlib.metadata import version

    beside = ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxlib", "numpy"))
    return f"closedform {version('closedform')} ({beside}, Python {'.'.join(map(str, sys.version_info[:3]))})"


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


if __name__ == "__main__":
    sys.exit(main())
