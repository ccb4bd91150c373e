"""Strict mode for every test: float64 on, rank and dtype promotion are errors, shapes are checked at run time."""

import collections
import contextlib
import ctypes
import functools
import gc
import importlib.metadata
import inspect
import itertools
import os
import shutil
import signal
import sys
import tempfile
import time
import zlib
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
# two processes share two cores: OpenBLAS's threads, one a core in each, would wait for one another by spinning
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A shell lets what it starts in the background ignore Ctrl-C, and so would all that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Most of the time of the tests is compiling. Without LLVM's optimisations, in one piece, and with the older emitters of jaxlib
# 0.10 (a flag that it does not know ends the process) it takes a third of it. Such programs round in another way than
# users' do, and what holds of a formula holds in both: with --slow all is compiled as users compile it.
if "PYTEST_XDIST_WORKER" not in os.environ and not any(argument.startswith("--slow") for argument in sys.argv):
    flags = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        flags.append("--xla_cpu_use_fusion_emitters=false")
    os.environ["XLA_FLAGS"] = " ".join([*flags, os.environ.get("XLA_FLAGS", "")]).strip()

# Compiled programs are shared by the processes of one run, and kept for no other: not in the user's own cache.
_cache = None
if "PYTEST_XDIST_WORKER" not in os.environ and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="closedform-xla-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

from jaxtyping import install_import_hook  # noqa: E402

_CHECKED = ["closedform.models", "closedform.solvers", "closedform.tasks", "closedform.theory"]
_hook = install_import_hook(_CHECKED, "beartype.beartype")
_hook.__enter__()

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

# the same examples in every run, and nothing left in the folder
hypothesis.settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("fixed")

from closedform.sweeps.contract import precision, tracing  # noqa: E402

# Users' code is traced anew each time. Here what JAX has traced of a function serves all experiments, but in tests/sweeps.
tracing._count = itertools.repeat(1)
precision.PROMOTION.update(dtype="strict", rank="raise")  # what the engine allows users, our own experiments do without

_ROOT = Path(__file__).resolve().parent.parent

# ------------------------------------------------------------------------------------------------------------ slow tests


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run also what takes long and cannot be cut")
    parser.addoption("--slow-commits", type=int, metavar="N", help="only slow tests, of what the last N commits touched")
    parser.addoption("--shard", metavar="I/N", help="only the tests of part I, from 0 on, of N: each topic in one of them")
    parser.addoption("--slow-minutes", type=float, default=20, help="of --slow-commits: what starts later is left, and said")


def pytest_collection_modifyitems(config, items):
    commits, slow = config.getoption("--slow-commits"), [item for item in items if item.get_closest_marker("slow")]
    if commits is not None:
        chosen = _touched(slow, commits)
    elif config.getoption("--slow"):
        chosen = list(items)
    else:
        chosen = [item for item in items if not item.get_closest_marker("slow")]
        if os.environ.get(_EVERYTHING):
            from zoo.history import first_cases

            chosen = first_cases(chosen)
    if shard := config.getoption("--shard"):
        part, parts = map(int, shard.split("/"))
        chosen = [item for item in chosen if zlib.crc32(_topic(item).encode()) % parts == part]
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = chosen


_EVERYTHING = "CLOSEDFORM_WHOLE_SUITE"  # set where no file and no expression was named: the run that a promise of time is for


def pytest_configure(config):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        named = config.args_source == config.ArgsSource.ARGS or config.option.keyword or config.option.markexpr
        os.environ[_EVERYTHING] = "" if named else "1"


def _topic(item):
    """What tests that share a computation have in common: their parameter, such as the name of an experiment."""
    return item.nodeid.partition("[")[2] or item.nodeid


def _touched(items, commits):
    """Those whose subject, with all that it imports, was changed by the last commits; the newest change first."""
    from zoo.history import changed

    age = changed(commits)
    ages = [(min((age[path] for path in _subject(item) if path in age), default=None), item) for item in items]
    return [item for when, item in sorted((pair for pair in ages if pair[0] is not None), key=lambda pair: pair[0])]


def _subject(item):
    """The files that a slow test is about, as its parameters say: a function, an experiment and its figure.

    Else its own file and those that its mark names; a test in tests/experiments/test_<paper>_*.py is about that paper.
    """
    from closedform.sweeps import names

    given = item.callspec.params if hasattr(item, "callspec") else {}
    if "call" in given:
        return _imports(Path(inspect.getfile(inspect.unwrap(given["call"].of or given["call"].function))).resolve())
    if (name := given.get("name", given.get("which"))) in names():
        starts = [_ROOT / folder / f"{name}.py" for folder in ("experiments", "figures")]
    else:
        paper = (path for path in _ROOT.glob("experiments/*/*.py") if item.path.stem.startswith(f"test_{path.parent.name}_"))
        named = (file for path in item.get_closest_marker("slow").args for file in _files(_ROOT / path))
        starts = [item.path, *named, *(paper if item.path.parent.name == "experiments" else ())]
    return set().union(*(_imports(path.resolve()) for path in starts if path.exists()))


def _files(path):
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


@functools.cache
def _imports(path):
    from closedform.sweeps.contract.sources import imported_files

    return imported_files(path) if path.suffix == ".py" else {path}


def pytest_sessionstart(session):
    session.config.started = time.monotonic()


@contextlib.contextmanager
def _in_time(item):
    """Of --slow-commits: a test that is not done a fifth of --slow-minutes after the last could start is cut off."""
    if item.config.getoption("--slow-commits") is None:
        yield
        return
    minutes = 1.2 * item.config.getoption("--slow-minutes")
    left = 60 * minutes - (time.monotonic() - item.config.started)
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.skip(f"{_LEFT}: not done within {minutes:g} minutes"))
    signal.setitimer(signal.ITIMER_REAL, max(left, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    if item.config.getoption("--slow-commits") is not None:
        minutes = (time.monotonic() - item.config.started) / 60
        if minutes > item.config.getoption("--slow-minutes"):
            pytest.skip(f"{_LEFT}: the time for slow tests is over")
    with _in_time(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    with _in_time(item):
        return (yield)


def pytest_sessionfinish(session, exitstatus):
    if session.config.getoption("--slow-commits") is not None and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK  # the last commits touched nothing that is slow


# --------------------------------------------------------------------------------------------------------------- what it took

_LEFT = "left"
_BUDGET = {"experiment": 3.0, "theory file": 4.0}  # seconds of one process: of experiments on average, of files each


def pytest_terminal_summary(terminalreporter, config):
    """What was left of the slow tests; else what exceeds its budget: told, never a failure, since machines differ."""
    skipped = terminalreporter.stats.get("skipped", [])
    left = [report.nodeid.partition("::")[0] for report in skipped if f"Skipped: {_LEFT}: " in str(report.longrepr)]
    if left:
        files = collections.Counter(left)
        terminalreporter.write_line("left of the slow tests: " + ", ".join(f"{n} of {path}" for path, n in files.items()))
    if config.getoption("--slow") or config.getoption("--slow-commits") is not None:
        return
    took = {kind: {} for kind in _BUDGET}
    for report in (one for some in terminalreporter.stats.values() for one in some if hasattr(one, "duration")):
        path, _, test = report.nodeid.partition("::")
        name = test.partition("[")[2].rstrip("]")
        if path.startswith("tests/theory/"):
            took["theory file"][path] = took["theory file"].get(path, 0.0) + report.duration
        elif path == "tests/test_experiments.py" and name:
            took["experiment"][name] = took["experiment"].get(name, 0.0) + report.duration
    for kind, seconds in took.items():
        count = sum("/" in what for what in seconds)  # not the papers, whose cheapest experiment is compiled
        mean, budget = sum(seconds.values()) / max(1, count), _BUDGET[kind]
        above = sorted(((time, what) for what, time in seconds.items() if time > budget), reverse=True)
        if above and (kind == "theory file" or mean > budget):
            said = ", ".join(f"{what} {time:.0f}" for time, what in above)
            terminalreporter.write_line(f"seconds {mean:.1f} a {kind}, of {budget:g}; above it {len(above)}: {said}")


# ------------------------------------------------------------------------------------------------------------ every test


@pytest.fixture(autouse=True)
def _strict():
    with jax.enable_x64(True), jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


_MAPS, _MEMORY = Path("/proc/self/maps"), Path("/proc/self/statm")
_turns = itertools.count()  # maps are counted at every 20th test: writing down some ten thousand of them takes 10 ms
_STEP = 500 << 20  # bytes that a process may grow by before memory is given back
_given_back = 1 << 30
_C = ctypes.CDLL(None) if os.name == "posix" else None


def _resident() -> int:
    return int(_MEMORY.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if _MEMORY.exists() else 0


@pytest.fixture(autouse=True)
def _small_process():
    """Forget compiled programs in time, and give back the memory that compiling has left.

    A program holds some thirty memory maps, of which Linux grants a process 65,530. What grows is mostly not the programs: the
    compiler frees its memory, and the C library keeps it (of 1.4 GB after one large program 0.7 were free).
    """
    global _given_back
    yield
    many = next(_turns) % 20 == 0 and _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > 20_000
    if many:
        jax.clear_caches()
    if many or _resident() > _given_back + _STEP:
        _give_back()
        if _resident() > _given_back + _STEP:  # not free, but held
            jax.clear_caches()
            gc.collect()
            _give_back()
            _given_back = max(_resident(), 1 << 30)


def _give_back():
    if hasattr(_C, "malloc_trim"):  # the GNU library's
        _C.malloc_trim(0)


def pytest_unconfigure(config):
    if _cache is not None:
        shutil.rmtree(_cache, ignore_errors=True)
