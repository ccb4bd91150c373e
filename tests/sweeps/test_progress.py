"""What a person sees while a sweep runs."""

import io
import sys

import pytest

from closedform.sweeps.engine import progress as progress_module
from closedform.sweeps.engine.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def test_where_there_is_no_terminal_a_plain_line_comes_every_half_minute(clock, capsys):
    with Progress("xor/phases", 1000, show=True) as progress:
        progress.now("model.dim=64")
        for second in range(1, 70):
            clock[0] = float(second)
            progress.advanced(10)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "xor/phases: 30 %, 10 seed-steps/s, about 70 s left, model.dim=64",
        "xor/phases: 60 %, 10 seed-steps/s, about 40 s left, model.dim=64",
    ]


def test_what_need_not_be_done_is_no_progress(clock, capsys):
    with Progress("a", 1000, show=True) as progress:
        progress.less(900)
        clock[0] = 31.0
        progress.advanced(50)
    assert capsys.readouterr().err == "a: 50 %, 2 seed-steps/s, about 31 s left\n"


def test_on_a_terminal_there_is_one_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    with Progress("xor/phases", 100, show=True) as progress:
        progress.now("model.dim=64")
        progress.advanced(25)
    shown = terminal.getvalue()
    assert "25%" in shown
    assert "seed-steps/s" in shown
    assert "model.dim=64" in shown


def test_nothing_is_shown_where_nothing_is_to_be_done_or_wanted(capsys):
    for total, show in ((0, True), (10, False)):
        with Progress("a", total, show) as progress:
            progress.advanced(total)
    assert capsys.readouterr().err == ""
