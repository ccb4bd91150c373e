"""One progress bar for what is running; plain lines now and then where the output is no terminal."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Any

from ..errors import plain

_FIRST_SECONDS, _PLAIN_SECONDS = 10.0, 30.0  # until the first plain line, and from one to the next


class Progress:
    """`total` counts steps over all runs, one for a run of one shot. Any thread may call all but entering and leaving.

    Speed is what was done from the moment at which something began to run (before that it was compiled) to the last moment at
    which something was done: what is in progress counts neither way.
    """

    def __init__(self, title: str, total: int, show: bool, unit: str = "seed-steps"):
        self._title, self._total, self._show, self._unit = plain(title), total, show and total > 0, unit
        self._done, self._what, self._lock = 0, "", threading.Lock()
        self._began = self._last = time.monotonic()  # to run; and when something was done
        self._told, self._runs = self._began + _FIRST_SECONDS - _PLAIN_SECONDS, False
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if self._show and sys.stderr.isatty():
            self._bar = _bar(self)
            self._task = self._bar.add_task(self._title, total=self._total, what="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def running(self) -> None:
        """What was compiled begins to run."""
        with self._lock:
            if not self._runs:
                self._runs, self._began = True, time.monotonic()

    def advanced(self, steps: int) -> None:
        """`steps` further steps were done."""
        with self._lock:
            self._done += steps
            self._last = time.monotonic()
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

    def pace(self) -> tuple[str, float | None]:
        """How fast it goes, in words, and the seconds that are left, None if that is not known yet."""
        if not self._done or self._last <= self._began:
            return "running" if self._runs else "compiling", None
        rate = self._done / (self._last - self._began)
        left = (self._total - self._done) / rate - (time.monotonic() - self._last)
        return f"{rate:,.0f} {self._unit}/s" if rate >= 10 else f"{rate:.2g} {self._unit}/s", max(left, 0.0)

    def _tell(self) -> None:
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, total=self._total, completed=self._done, what=self._what)
        elif self._show and now - self._told >= _PLAIN_SECONDS:
            self._told = now
            rate, left = self.pace()
            told = "time left unknown" if left is None else f"about {left:.0f} s left"
            share = f"{100 * self._done / max(self._total, 1):.0f} %"
            print(", ".join(filter(None, (f"{self._title}: {share}", rate, told, self._what))), file=sys.stderr, flush=True)


def _bar(of: Progress) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column
    from rich.text import Text

    class Pace(ProgressColumn):
        max_refresh = None

        def render(self, task: Any) -> Text:
            rate, left = of.pace()
            return Text(rate if left is None or task.finished else f"{rate}, {_clock(left)} left")

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        TaskProgressColumn(),
        Pace(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}", markup=False),
        console=Console(stderr=True),
        expand=True,
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
