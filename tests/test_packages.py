"""The package as a user imports it: modules by their full names, and nothing heavy before one is named."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import closedform

ROOT = Path(closedform.__file__).parent
PRIMITIVES = ("theory", "models", "solvers", "tasks")
PACKAGES = sorted(
    ".".join(("closedform", *path.parent.relative_to(ROOT).parts))
    for folder in PRIMITIVES
    for path in (ROOT / folder).rglob("__init__.py")
)


def test_one_import_reaches_every_function_and_costs_nothing_before():
    program = """
import sys
import closedform
heavy = {"jax", "numpy", "scipy", "matplotlib", "flax", "xarray"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert "theory" in dir(closedform) and not [name for name in sys.modules if name.startswith("closedform.")]
assert "kernels" in dir(closedform.theory) and not heavy & set(sys.modules)
import closedform.models  # a package that an import statement has loaded gives its modules too
assert callable(closedform.models.fully_connected.two_layer.init)
print(closedform.theory.kernels.deep_kernels.gram([[1.0, 2.0]], activation="relu").nngp)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[[1.25]]"), done.stderr


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_gives_its_public_modules_and_no_others(name):
    package = importlib.import_module(name)
    folder = Path(package.__file__).parent
    inside = [*folder.glob("*.py"), *(path.parent for path in folder.glob("*/__init__.py"))]
    public = {path.stem for path in inside if not path.name.startswith("_")}
    assert public <= set(dir(package))
    assert all(package.__getattr__(one).__name__ == f"{name}.{one}" for one in public)
    for other in ("no_such_module", "__wrapped__", "_example"):
        with pytest.raises(AttributeError, match=f"^module '{name}' has no attribute '{other}'$"):
            package.__getattr__(other)


@pytest.mark.parametrize("folder", ["theory", "models", "solvers", "tasks", "sweeps", "experiments", "figures", "gallery"])
def test_the_house_is_reached_by_name(folder):
    assert closedform.__getattr__(folder) is importlib.import_module(f"closedform.{folder}")


def test_the_example_of_help_is_what_help_says():
    assert doctest.testmod(importlib.import_module("closedform.documented")) == (0, 2)


def test_a_checkout_s_other_files_are_no_modules():
    assert not {"setup", "tests", "docs"} & set(dir(closedform))
    with pytest.raises(AttributeError):
        closedform.setup  # noqa: B018
