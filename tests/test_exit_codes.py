"""What a command tells the program that called it: exit codes, UTF-8, and one line for whatever goes wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import closedform.__main__ as command_line
from closedform import console, sweeps
from closedform.commands import list as list_command
from closedform.sweeps import UsageError
from closedform.sweeps.errors import EveryCellFailed


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "180")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def closedform(text):
    return command_line.main(text.split())


def row(verdict):
    return sweeps.Row("a/b", "", "x", "", 1.0, 2.0, 0.1, 0.4, 1, 0, 8, (), verdict)


class Stored:
    """As much of a result as the verdict looks at."""

    def __init__(self, stale):
        said = {"stale": "computed by an earlier version of the code"} if stale else {}
        self.attrs = {"closedform": json.dumps(said)}


@pytest.mark.parametrize(
    ("verdicts", "stale", "code"),
    [
        (["agrees"], False, 0),
        (["agrees", "no verdict (1 seed)"], False, 0),
        (["agrees", "DISAGREES"], False, 1),
        (["no verdict (0 seeds)"], False, 1),
        (["agrees", "no verdict (failed)"], False, 3),
        (["DISAGREES", "no verdict (failed)"], True, 3),
        (["agrees"], True, 4),
        (["DISAGREES"], True, 1),
    ],
)
def test_the_gravest_of_what_holds_is_the_exit_code(verdicts, stale, code, monkeypatch):
    monkeypatch.setattr(sweeps, "compare", lambda *_: list(map(row, verdicts)))
    monkeypatch.setattr(sweeps, "load", lambda *_, **__: Stored(stale))
    assert closedform("agree xor/phases") == code


def raising(error):
    def command(words):
        raise error

    return command


def interrupted_while_storing(words):
    try:
        raise KeyboardInterrupt
    finally:
        raise UsageError("disk: cannot be written")


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (raising(UsageError("field: got 1; allowed: 2")), 2, "field: got 1; allowed: 2"),
        (raising(EveryCellFailed("every cell failed", 200)), 3, "every cell failed"),
        (raising(KeyboardInterrupt()), 130, "interrupted; finished seeds are kept"),
        (interrupted_while_storing, 130, "(disk: cannot be written)"),
        (raising(ZeroDivisionError("one\ntwo")), 70, "internal error: ZeroDivisionError: one; its traceback is kept in "),
        (raising(SystemExit(0)), 70, "internal error: SystemExit: 0; its traceback is kept in "),
        (raising(MemoryError()), 70, "internal error: MemoryError; its traceback is kept in "),
    ],
)
def test_whatever_is_raised_is_one_line_and_a_code(command, code, says, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(list_command, "run", command)
    assert closedform("list") == code
    said = capsys.readouterr().err
    assert said.startswith("closedform: ")
    assert says in said
    assert said.count("\n") == 1
    if code == 70:
        (path,) = (tmp_path / "cache/closedform/errors").iterdir()
        assert said.endswith(f"{path}\n")
        assert "in command" in path.read_text()


def test_help_is_no_error(capsys):
    assert closedform("list --help") == 0
    assert "usage: closedform list" in capsys.readouterr().out


def test_a_traceback_that_cannot_be_kept_is_said(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(list_command, "run", raising(ZeroDivisionError()))
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    monkeypatch.setattr(console.tempfile, "gettempdir", lambda: "/dev/null")
    assert closedform("list") == 70
    assert capsys.readouterr().err == "closedform: internal error: ZeroDivisionError; its traceback could not be kept\n"


def test_a_file_that_ends_python_or_raises_is_a_wrong_request(capsys, tmp_path):
    for text in ("raise SystemExit(0)", "import sys; sys.exit(7)", "1 / 0"):
        (tmp_path / "ends.py").write_text(text)
        assert closedform("run ends.py:simulate") == 2
        assert "ends.py: cannot be imported" in capsys.readouterr().err


def test_a_function_that_raises_when_it_is_traced_has_failed(capsys, tmp_path):
    (tmp_path / "raises.py").write_text("def simulate(key, config={'a': 1.0}):\n    raise ValueError('no')\n")
    assert closedform("run raises.py:simulate") == 3
    assert "raises/simulate failed: ValueError: no; its traceback is kept in " in capsys.readouterr().err


def test_an_error_of_the_engine_is_not_the_cell_s(capsys, tmp_path, monkeypatch):
    from closedform.sweeps.engine import queue

    (tmp_path / "fine.py").write_text("def simulate(key, config={'a': 1.0, 'b': 1}):\n    return config['a']\n")
    monkeypatch.setattr(queue, "execute", lambda *_: 1 / 0)
    assert closedform("run fine.py:simulate --seeds 2") == 70
    assert "internal error: ZeroDivisionError: division by zero" in capsys.readouterr().err
    assert closedform("sweep fine.py:simulate --seeds 2 --over b=1,2") == 70


# --- processes -------------------------------------------------------------------------------------------------------------


def process(*arguments, program="from closedform.__main__ import main; sys.exit(main())", environment=(), **options):
    command = [sys.executable, "-c", f"import sys; {program}", *arguments]
    return subprocess.Popen(command, env={**os.environ, **dict(environment)}, stderr=subprocess.PIPE, **options)


# prints the table of one row without computing anything
TABLE = """
from closedform import sweeps
import closedform.__main__ as command_line
sweeps.compare = lambda *_: [sweeps.Row("a/b", "", "x", "", 1.0, 2.0, 0.1, 0.4, 1, 0, 8, (), "DISAGREES")]
sweeps.load = lambda *_, **__: object()
sys.exit(command_line.main())
"""


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        pytest.param({"PYTHONIOENCODING": "latin-1"}, marks=pytest.mark.slow),
        pytest.param({"LC_ALL": "POSIX"}, marks=pytest.mark.slow),
    ],
)
def test_output_is_utf8_whatever_the_locale(locale):
    running = process(
        "agree", "xor/phases", program=TABLE.strip().replace("\n", "; "), environment=locale, stdout=subprocess.PIPE
    )
    out, error = running.communicate()
    assert (running.returncode, error) == (1, b"")
    assert "2 ± 0.1" in out.decode("utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_device_is_one_line():
    with open("/dev/full", "w") as full:
        running = process("list", stdout=full)
        _, error = running.communicate()
    assert error.decode() == "closedform: standard output: cannot be written (No space left on device)\n"
    assert running.returncode == 2


def test_a_closed_pipe_is_quiet_and_keeps_the_verdict():
    reading, writing = os.pipe()
    os.close(reading)
    running = process("agree", "xor/phases", program=TABLE.strip().replace("\n", "; "), stdout=writing)
    os.close(writing)
    assert running.communicate()[1] == b""
    assert running.returncode == 1


def test_streams_that_are_closed_are_no_error():
    running = process(
        "list", program="import os; os.close(1); sys.stdout = None; from closedform.__main__ import main; sys.exit(main())"
    )
    assert running.communicate()[1] == b""
    assert running.returncode == 0


# what runs in the background of a script starts with SIGINT ignored; the first import of jax is the moment
WHILE_IMPORTING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
class Interrupt:
    def find_spec(self, name, *rest):
        if name == {name!r}: signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from closedform.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("name", ["tyro", "jax"])
def test_control_c_while_python_is_still_importing(name):
    program = f"exec({WHILE_IMPORTING.format(name=name)!r})"
    running = process("reproduce", "bilinear/riccati", program=program, stdout=subprocess.PIPE)
    _, error = running.communicate()
    assert (running.returncode, error) == (130, b"")
