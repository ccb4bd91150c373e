"""One progress bar for what is running; plain lines every half minute where the output is no terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

_PLAIN_SECONDS = 30.0


@contextlib.contextmanager
def bar(title: str, total: int, show: bool) -> Iterator[Callable[[int], None]]:
    """Yields `advanced(steps)`, to be called from any thread; `total` counts steps over all runs."""
    if not show or total == 0:
        yield lambda steps: None
    elif sys.stderr.isatty():
        with _terminal(title, total) as advanced:
            yield advanced
    else:
        yield _plain(title, total)


@contextlib.contextmanager
def _terminal(title: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    began, done, lock = time.monotonic(), 0, threading.Lock()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total, rate="compiling")

        def advanced(steps: int) -> None:
            nonlocal done
            with lock:
                done += steps
                rate = done / max(time.monotonic() - began, 1e-9)
            progress.update(task, advance=steps, rate=f"{rate:,.0f} seed-steps/s")

        yield advanced


def _plain(title: str, total: int) -> Callable[[int], None]:
    began, last, done, lock = time.monotonic(), time.monotonic(), 0, threading.Lock()

    def advanced(steps: int) -> None:
        nonlocal done, last
        with lock:
            done += steps
            now = time.monotonic()
            if now - last < _PLAIN_SECONDS:
                return
            last = now
        left = (now - began) * (total - done) / done
        print(f"{title}: {100 * done / total:.0f} %, about {left:.0f} s left", file=sys.stderr, flush=True)

    return advanced
