"""Strict mode for every test: float64 on, rank and dtype promotion are errors, shapes are checked at run time."""

import ctypes
import functools
import gc
import inspect
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

# Most of the time of the tests is compiling. Without optimisations it takes half the time for small programs and a fifth for
# large ones, which then run at half their speed. With --slow all tests run as users compile. Flags of jaxlib 0.10 to 0.12.
if "PYTEST_XDIST_WORKER" not in os.environ and not any(argument.startswith("--slow") for argument in sys.argv):
    os.environ["XLA_FLAGS"] = " ".join([
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_use_fusion_emitters=false",
        os.environ.get("XLA_FLAGS", ""),
    ])  # fmt: skip

# Compiled programs are shared by the processes of one run, and kept for no other: not in the user's own cache.
_cache = None
if "PYTEST_XDIST_WORKER" not in os.environ and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="closedform-xla-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

from jaxtyping import install_import_hook  # noqa: E402

_CHECKED = ["closedform.models", "closedform.solvers", "closedform.tasks", "closedform.theory"]
_hook = install_import_hook(_CHECKED, "beartype.beartype")
_hook.__enter__()

import jax  # noqa: E402
import pytest  # noqa: E402

_ROOT = Path(__file__).resolve().parent.parent

# ------------------------------------------------------------------------------------------------------------ slow tests


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run also what takes long and cannot be cut")
    parser.addoption("--slow-commits", type=int, metavar="N", help="only slow tests, of what the last N commits touched")
    parser.addoption("--slow-minutes", type=float, default=20, help="of --slow-commits: what starts later is left, and said")


def pytest_collection_modifyitems(config, items):
    commits = config.getoption("--slow-commits")
    if config.getoption("--slow") and commits is None:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    chosen = [item for item in items if item not in slow] if commits is None else _touched(slow, commits)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def _touched(items, commits):
    """Those whose subject, with all that it imports, was changed by the last commits; the newest change first."""
    log = ["git", "log", "--name-only", "--format=", f"-{commits}"]
    lines = subprocess.run(log, cwd=_ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    age = {(_ROOT / line).resolve(): i for i, line in reversed(list(enumerate(filter(None, lines))))}
    ages = [(min((age[path] for path in _subject(item) if path in age), default=None), item) for item in items]
    return [item for when, item in sorted((pair for pair in ages if pair[0] is not None), key=lambda pair: pair[0])]


@functools.cache
def _imports(path):
    from closedform.sweeps.digest import imported_files

    return imported_files(path)


def _subject(item):
    """The files that a slow test is about: of the function that it calls, where its parameter says so, else its own."""
    call = item.callspec.params.get("call") if hasattr(item, "callspec") else None
    file = item.path if call is None else inspect.getfile(inspect.unwrap(call.of or call.function))
    return _imports(Path(file).resolve())


def pytest_sessionstart(session):
    session.config.started = time.monotonic()


def pytest_runtest_setup(item):
    if item.config.getoption("--slow-commits") is not None:
        minutes = (time.monotonic() - item.config.started) / 60
        if minutes > item.config.getoption("--slow-minutes"):
            pytest.skip("left: the time for slow tests is over")


# ------------------------------------------------------------------------------------------------------------ every test


@pytest.fixture(autouse=True)
def _strict():
    with jax.enable_x64(True), jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


_MAPS, _MEMORY = Path("/proc/self/maps"), Path("/proc/self/statm")
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
    many = _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > 20_000
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
