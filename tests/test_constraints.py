"""Every extra can be installed with constraints.txt: found offline, from what the pinned distributions require."""

import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
PYTHONS = ("3.11", "3.12", "3.13")

# What distributions of the extra `benchmark` require, which the tests do not install: copied from their metadata. The CUDA
# libraries and triton are left out: torch itself says which versions it takes.
ELSEWHERE = {
    ("torch", "2.14.1"): [
        "filelock",
        "typing-extensions>=4.10.0",
        "sympy>=1.13.3",
        "networkx>=2.5.1",
        "jinja2",
        "fsspec>=0.8.5",
    ],
    ("torchdeq", "0.1.0"): ["torch>=1.11.0", "numpy>=1.21.5"],
    ("torchdiffeq", "0.2.5"): ["torch>=1.5.0", "scipy>=1.4.0"],
    ("sympy", "1.14.0"): ["mpmath<1.4,>=1.1.0"],
    ("networkx", "3.6.1"): [],
    ("filelock", "4.3.1"): [],
    ("tqdm", "4.70.1"): ['colorama; platform_system == "Windows"'],
    ("scs", "3.3.1"): ["numpy", "scipy"],
}


def pinned(text, python):
    """The versions that a file of constraints gives one Python."""
    lines = filter(None, (line.split("#")[0].strip() for line in text.splitlines()))
    found = {}
    for one in map(Requirement, lines):
        if one.marker is None or one.marker.evaluate({"python_version": python}):
            (pin,) = one.specifier
            assert pin.operator == "=="
            assert canonicalize_name(one.name) not in found, one.name
            found[canonicalize_name(one.name)] = pin.version
    return found


ALL_PINS = {python: pinned((ROOT / "constraints.txt").read_text(), python) for python in PYTHONS}
PINS = ALL_PINS[f"{sys.version_info.major}.{sys.version_info.minor}"]


def requirements(name, version):
    """Of a distribution at its pinned version; None where only another version is installed."""
    if (name, version) in ELSEWHERE:
        return ELSEWHERE[name, version]
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    return (found.requires or []) if found.version == version else None


def conflicts(pins, extra, python):
    """Whatever keeps pip from installing an extra with these pins; and the distributions that were met."""
    found, met = set(), set()
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    todo = [("closedform", line, "") for line in EXTRAS[""] + EXTRAS[extra]]
    while todo:
        owner, line, of_extra = todo.pop()
        needed = Requirement(line)
        if needed.marker and not needed.marker.evaluate({**environment, "extra": of_extra}):
            continue
        name = canonicalize_name(needed.name)
        if name == "closedform":
            todo += [("closedform", inner, "") for one in needed.extras for inner in EXTRAS[one]]
        elif name == "setuptools":  # which builds the project: no version of it is kept back
            continue
        elif name not in pins:
            found.add(f"{owner} requires {line}, which has no pin")
        else:
            if not needed.specifier.contains(pins[name], prereleases=True):
                found.add(f"{owner} requires {line}, pinned at {pins[name]}")
            for one in ("", *needed.extras):
                if (name, one) not in met:
                    met.add((name, one))
                    todo += [(name, inner, one) for inner in requirements(name, pins[name]) or []]
    return found, {name for name, _ in met}


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_extra_can_be_installed(extra, python):
    assert conflicts(ALL_PINS[python], extra, python)[0] == set()


def test_every_pin_is_of_something_and_what_was_copied_is_of_the_pinned_version():
    met = {name for extra in EXTRAS for name in conflicts(PINS, extra, "3.11")[1]}
    whole = all(requirements(name, PINS[name]) is not None for name in met)
    assert met <= set(PINS)
    if whole:  # the tested environment itself: then everything that is pinned is met
        assert set(PINS) - met == set()
    assert all(PINS[name] == version for name, version in ELSEWHERE)


def test_pins_that_do_not_fit_are_found():
    assert conflicts({**PINS, "mpmath": "1.4.1"}, "benchmark", "3.11")[0] == {
        "sympy requires mpmath<1.4,>=1.1.0, pinned at 1.4.1"
    }
    assert conflicts({**PINS, "mpmath": "1.4.1"}, "cluster", "3.11")[0] == set()
    assert conflicts({**PINS, "jax": "0.13.0"}, "", "3.11")[0] >= {"closedform requires jax>=0.10,<0.13, pinned at 0.13.0"}
    without = {name: version for name, version in PINS.items() if name != "torch"}
    assert "closedform requires torch>=2.8, which has no pin" in conflicts(without, "benchmark", "3.11")[0]
