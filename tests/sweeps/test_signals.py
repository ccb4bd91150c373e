"""Interruptions: every signal that asks to end stores what there is, once; what holds up the end is told."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from closedform import __main__ as command_line
from closedform.sweeps import Settings, run
from closedform.sweeps.engine import executor, runner
from closedform.sweeps.engine import queue as queue_module
from zoo import decay, marathon

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def heard():
    """Whoever started the tests in the background may have let signals be ignored."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_each_interrupts_once_a_second(number, monkeypatch, heard):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    before = signal.getsignal(number)
    with command_line.interruptible():
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
            now[0] += 0.5
            os.kill(os.getpid(), signal.SIGTERM)  # the same wish
            now[0] += 0.6
    assert signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with command_line.interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_hang_says_what_it_waits_for(tmp_path, monkeypatch):
    """A block that does not come back: the main thread is interrupted, and tells of it while it waits."""
    inside, told, said = threading.Event(), threading.Event(), []

    def hangs(self, batch, source):
        inside.set()
        assert told.wait(60)  # then it is None: stopped on the way

    def wait(futures, timeout, return_when=None, original=executor.wait):
        if inside.is_set() and return_when is not None:
            raise KeyboardInterrupt
        return original(futures, timeout=0.01) if return_when is None else original(futures, timeout, return_when)

    def say(line):
        said.append(line)
        if "waiting for the end of" in line:
            told.set()

    monkeypatch.setattr(runner.Runner, "simulate", hangs)
    monkeypatch.setattr(executor, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        run(decay, seeds=3, results=tmp_path, progress=False, say=say, settings=Settings(threads=1, block=3))
    assert "stopped, and waiting for the end of: block of 3 runs (0 s); interrupted again, it does not wait" in said[-1]
    assert not executor.still_running()


def test_an_end_that_is_quick_says_nothing(tmp_path, monkeypatch):
    def interrupt(self, steps):
        raise KeyboardInterrupt

    monkeypatch.setattr(queue_module.Queue, "advanced", interrupt)
    said = []
    with pytest.raises(KeyboardInterrupt):
        run(decay, seeds=3, results=tmp_path, progress=False, say=said.append)
    assert said == []


@pytest.mark.slow
def test_who_interrupts_a_hang_again_is_not_kept_waiting(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import time, jax, jax.numpy as jnp\nconfig = {'a': 1.0}\n"
        "def hang(x):\n    print('inside', flush=True)\n    time.sleep(600)\n    return x\n"
        "def simulate(key, config):\n    shape = jax.ShapeDtypeStruct((), jnp.float32)\n"
        "    return jax.pure_callback(hang, shape, jax.random.normal(key))\n"
    )
    command = [sys.executable, "-m", "closedform", "sweep", "mine.py:simulate", "--seeds", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "inside\n"
    process.send_signal(signal.SIGINT)
    lines = iter(process.stderr.readline, "")
    assert any("waiting for the end of: block of 1 runs" in line for line in lines)
    time.sleep(1.1)  # within a second it would be the same wish
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130


@pytest.mark.slow
def test_an_interrupted_launcher_ends_its_processes(tmp_path):
    """Only the command hears the signal, as when it is sent by another program."""
    command = [sys.executable, "-m", "closedform", "sweep", marathon.__file__, "--over", "rate=3.8,3.9", "--seeds", "300"]
    process = subprocess.Popen([*command, "--launcher", "local", "--results", str(tmp_path)], stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("marathon/locks/*")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "interrupted; finished seeds are kept" in said
    import psutil

    left = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):  # gone in the meantime, or a zombie, which is one of them
            left += [one.pid] if str(tmp_path) in " ".join(one.cmdline()) else []
    assert left == []
