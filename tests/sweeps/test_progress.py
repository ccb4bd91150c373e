"""What a person sees while a sweep runs."""

import io
import re
import sys

import pytest

from closedform.sweeps import Settings, api, run
from closedform.sweeps.engine import progress as progress_module
from closedform.sweeps.engine.progress import Progress
from zoo import estimate


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def test_where_there_is_no_terminal_a_plain_line_comes_after_ten_seconds_and_every_half_minute(clock, capsys):
    with Progress("xor/phases", 1000, show=True) as progress:
        progress.now("model.dim=64")
        progress.running()
        for second in range(1, 70):
            clock[0] = float(second)
            progress.advanced(10)
    assert capsys.readouterr().err.splitlines() == [
        "xor/phases: 10 %, 10 seed-steps/s, about 90 s left, model.dim=64",
        "xor/phases: 40 %, 10 seed-steps/s, about 60 s left, model.dim=64",
    ]


def test_what_need_not_be_done_is_no_progress(clock, capsys):
    with Progress("a", 1000, show=True) as progress:
        progress.less(900)
        clock[0] = 31.0
        progress.advanced(50)
    assert capsys.readouterr().err == "a: 50 %, 1.6 seed-steps/s, about 31 s left\n"


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("block", [0.7, 4.0])
def test_after_ten_seconds_the_time_left_is_right_within_a_factor_two(clock, threads, block):
    """Compiled for six seconds, then runs of one shot that each take `block` seconds: neither compiling nor runs that are not
    done yet distort what is told, at any moment after ten seconds."""
    runs, compiling = 60, 6.0
    end = compiling + block * -(-runs // threads)
    with Progress("a", runs, show=False, unit="runs") as progress:
        clock[0] = compiling
        progress.running()
        moments = sorted(
            [*((compiling + block * (1 + run // threads), True) for run in range(runs)), *((t, False) for t in range(100))]
        )
        for moment, done in moments:
            clock[0] = float(moment)
            if done:
                progress.advanced(1)
            elif 10 + block <= moment < end - block:
                rate, left = progress.pace()
                assert rate.endswith(" runs/s")
                assert (end - moment) / 2 <= left <= 2 * (end - moment)


def test_a_run_of_one_shot_counts_when_it_is_done(tmp_path, monkeypatch):
    """What is told while a block computes must not count it: the times of the calls, in a real sweep."""
    seen = []

    class Recorded(Progress):
        def running(self):
            seen.append("running")
            super().running()

        def advanced(self, steps):
            seen.append(steps)
            super().advanced(steps)

    monkeypatch.setattr(api, "Progress", Recorded)
    run(estimate, {"sizes.num_samples": 20}, seeds=3, results=tmp_path, settings=Settings(threads=1, block=1), progress=False)
    assert [one for one in seen if one != "running"] == [1, 1, 1]
    assert seen[0] == "running"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("unit", ["seed-steps", "runs"])
def test_on_a_terminal_of_80_columns_there_is_one_bar_with_pace_and_time_left(monkeypatch, unit, clock):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with Progress("xor/phases", 100, show=True, unit=unit) as progress:
        progress.now("model.dim=64")
        progress.running()
        clock[0] = 2.0
        progress.advanced(25)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    last = [line for line in re.split(r"[\r\n]", shown) if line.strip()][-1]
    assert len(last) <= 80
    for words in ("xor/phases", "25%", f"12 {unit}/s", "0:06 left", "model.dim=64"):
        assert words in last


def test_nothing_is_shown_where_nothing_is_to_be_done_or_wanted(capsys):
    for total, show in ((0, True), (10, False)):
        with Progress("a", total, show) as progress:
            progress.advanced(total)
    assert capsys.readouterr().err == ""
