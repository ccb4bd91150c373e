"""Which files were changed last, by git: in the working tree, then by the newest commits."""

import ast
import functools
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def changed_experiments(commits, most):
    """Experiments whose own file or figure was changed last, and no more than a few: a rename touches them all."""
    from closedform.sweeps import names

    ages = changed(commits)
    newest = {
        name: min(ages.get((ROOT / folder / f"{name}.py").resolve(), float("inf")) for folder in ("experiments", "figures"))
        for name in names()
    }
    touched = [name for name in names() if newest[name] < float("inf")]
    return set(sorted(touched, key=lambda name: (newest[name], name))[:most])


def changed_papers(papers, least):
    """Papers that the last commits touched, and the first few; all of them where the newest touched the engine."""
    if any(path.is_relative_to(ROOT / "sweeps") for path in changed(10)):
        return papers
    touched = {path.parent.name for path in changed(30) if path.parent.parent in (ROOT / "experiments", ROOT / "figures")}
    return [paper for place, paper in enumerate(papers) if place < least or paper in touched]


def recent(things):
    """Parameters from `(value, name, file, group)`: slow if the last commits left the file alone, but the first of a group."""
    ages, seen, found = changed(30), set(), []
    for value, name, file, group in things:
        fast = file.resolve() in ages or group not in seen
        seen.add(group)
        found.append(pytest.param(value, id=name, marks=() if fast else pytest.mark.slow))
    return found


def first_cases(items):
    """Of a parametrised test whose subject the last commits left alone its first case: what it guards, it guarded many times.

    So the time of a whole run is that of what is being worked at, however many papers there are. Files named on the command
    line, and the nightly run, have every case.
    """
    ages, seen, kept = changed(30), set(), []
    for item in items:
        test = item.path, getattr(item, "originalname", item.name)
        files = subject(item.path)
        if test not in seen or files is None or any(file in ages for file in files):
            kept.append(item)
        seen.add(test)
    return kept


@functools.cache
def subject(path):
    """The files that a test file is about: itself and what it imports by name. None where that is all, or it sees to it itself.

    A test of the engine is about the whole engine. What the named files import in their turn has tests of its own.
    """
    from closedform.sweeps.contract.sources import import_targets

    text = path.read_text(encoding="utf-8")
    if path.parent == ROOT / "tests" or "zoo.history" in text:
        return None
    named = {target.resolve() for node in ast.parse(text).body for target in import_targets(path, node)}
    files = {path, *(file for file in named if file.exists() and file.name != "__init__.py")}
    engine = ROOT / "sweeps"
    if path.is_relative_to(ROOT / "tests" / "sweeps") or any(file.is_relative_to(engine) for file in files):
        files |= {*engine.rglob("*.py")}
    return files


@functools.cache
def changed(commits):
    """{file: place, 0 for the newest}; empty where there is no history."""
    asked = [
        ["git", "diff", "--name-only", "HEAD"],
        ["git", "ls-files", "--others", "--exclude-standard"],
        ["git", "log", "--name-only", "--format=", f"-{commits}"],
    ]
    texts = [subprocess.run(one, cwd=ROOT, capture_output=True, text=True, check=False).stdout for one in asked]
    lines = [line for text in texts for line in text.splitlines() if line]
    return {(ROOT / line).resolve(): place for place, line in reversed(list(enumerate(lines)))}
