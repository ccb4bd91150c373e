"""One progress bar for what is running; plain lines every half minute where the output is no terminal."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Any

from ..errors import plain

_PLAIN_SECONDS = 30.0


class Progress:
    """`total` counts steps over all runs. Everything but entering and leaving may be called from any thread."""

    def __init__(self, title: str, total: int, show: bool):
        self._title, self._total, self._show = plain(title), total, show and total > 0
        self._done, self._what, self._lock = 0, "", threading.Lock()
        self._began = self._last = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if self._show and sys.stderr.isatty():
            self._bar = _bar()
            self._task = self._bar.add_task(self._title, total=self._total, rate="compiling", what="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advanced(self, steps: int) -> None:
        """`steps` further steps were done."""
        with self._lock:
            self._done += steps
            self._tell()

    def less(self, steps: int) -> None:
        """`steps` steps need not be done after all: they are on disk, or their cell has failed."""
        with self._lock:
            self._total -= steps
            self._tell()

    def now(self, what: str) -> None:
        """What is running, in words."""
        with self._lock:
            self._what = plain(what)
            self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        rate = f"{self._done / max(now - self._began, 1e-9):,.0f} seed-steps/s" if self._done else "compiling"
        if self._bar is not None:
            self._bar.update(self._task, total=self._total, completed=self._done, rate=rate, what=self._what)
        elif self._show and now - self._last >= _PLAIN_SECONDS:
            self._last = now
            left = (now - self._began) * (self._total - self._done) / max(self._done, 1)
            told = f"about {left:.0f} s left" if self._done else "time left unknown"
            share = f"{100 * self._done / max(self._total, 1):.0f} %"
            print(", ".join(filter(None, (f"{self._title}: {share}", rate, told, self._what))), file=sys.stderr, flush=True)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}", markup=False),
        console=Console(stderr=True),
    )
