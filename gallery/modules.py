"""Docstrings, functions and imports of the modules of this package, read from their sources: nothing is imported."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from ..sweeps.contract.sources import imported_files
from ..sweeps.errors import unknown

ROOT = Path(__file__).resolve().parent.parent
PRIMITIVES = ("theory", "models", "solvers", "tasks")
_FOLDERS = (*PRIMITIVES, "experiments")
_HEAD = re.compile(r"^(Formula|Regime|Weight decay|Factors|Source|Finite size|Example)\. ?", flags=re.MULTILINE)


def names(folder: str) -> list[str]:
    """Public modules below a folder, as paths without suffix: theory/feature_learning/xor, experiments/xor/phases."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [path.relative_to(ROOT).with_suffix("").as_posix() for path in paths if not path.name.startswith("_")]


@functools.cache
def document(name: str) -> str:
    """The docstring of a module."""
    return ast.get_docstring(ast.parse((ROOT / f"{name}.py").read_text(encoding="utf-8"))) or ""


def sections(name: str) -> dict[str, str]:
    """The docstring of a primitive, cut at its heads: {"": first sentence, "Formula": Markdown, ...}."""
    claim, _, rest = document(name).partition("\n\n")
    parts = _HEAD.split(rest)
    return {"": " ".join(claim.split()), "About": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def code(name: str, functions: list[str]) -> str:
    """The source of some functions of a module, in the order in which they stand there."""
    text = (ROOT / f"{name}.py").read_text(encoding="utf-8")
    nodes = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name in functions]
    return "\n\n\n".join(filter(None, (ast.get_source_segment(text, node) for node in nodes)))


def functions(name: str) -> list[str]:
    """The public functions of a module."""
    body = ast.parse((ROOT / f"{name}.py").read_text(encoding="utf-8")).body
    return [node.name for node in body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


@functools.cache
def uses(name: str) -> list[str]:
    """The other public modules that a module imports, directly or through others."""
    files = {path.relative_to(ROOT).with_suffix("").as_posix() for path in imported_files(ROOT / f"{name}.py")}
    return sorted(files & {other for folder in _FOLDERS for other in names(folder)} - {name})


@functools.cache
def users(name: str) -> list[str]:
    """The experiments that import a module, directly or through others."""
    return [experiment for experiment in names("experiments") if name in uses(experiment)]


def resolve(text: str) -> list[str]:
    """The modules that a person names.

    A name is a paper (xor), an experiment (xor/phases) or a module (theory/feature_learning/xor, or with dots). Raises
    `UsageError` for an unknown name, with the nearest ones.
    """
    wanted = text.removesuffix(".py").replace(".", "/").removeprefix("closedform/").strip("/")
    stems = (wanted, f"experiments/{wanted}")
    known = [name for folder in _FOLDERS for name in names(folder)]
    found = [name for name in known if name in stems or name.startswith(tuple(f"{stem}/" for stem in stems))]
    if not found:
        short = {name.removeprefix("experiments/") for name in known}
        raise unknown("paper, experiment or module", text, short | {name.split("/")[0] for name in short})
    return found
