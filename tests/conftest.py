"""Strict mode for every test: float64 on, rank and dtype promotion are errors, shapes are checked at run time."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

from jaxtyping import install_import_hook

_CHECKED = ["closedform.models", "closedform.solvers", "closedform.tasks", "closedform.theory"]
_hook = install_import_hook(_CHECKED, "beartype.beartype")
_hook.__enter__()

import jax  # noqa: E402
import pytest  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run also what takes long and cannot be cut")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)


@pytest.fixture(autouse=True)
def _strict():
    with jax.enable_x64(True), jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


_MAPS = Path("/proc/self/maps")


@pytest.fixture(autouse=True)
def _few_programs():
    """Forget compiled programs in time: each holds some thirty memory maps, of which Linux grants a process 65,530."""
    yield
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
