"""The sources that a result was computed by: where a digest of a traced program can be looked up without tracing.

The same sources, data files, packages and static config give the same programs. So what they were traced to is noted (see
programs.py), and found again by this digest. It is no identity: of two sources with one program the results are one.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_PACKAGE = __name__.split(".")[0]
_ROOT = Path(__file__).resolve().parents[2]
_STANDARD = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
_SITES = {"site-packages", "dist-packages"}  # of another environment too, on the path of this one


def digest(*files: Path) -> str:
    """A hash of some source files and of all that they import from outside of installed packages.

    Comments, docstrings and layout do not count, and the same sources give the same digest in every Python version.
    """
    reached = sorted(set().union(*(imported_files(path.resolve()) for path in files)))
    return hashlib.sha256("\0".join(_code(path) for path in reached).encode()).hexdigest()[:16]


@functools.cache
def installed() -> str:
    """A hash of the names and versions of all installed packages, and of the version of Python."""
    sites = {Path(folder) for folder in sys.path if Path(folder).name in _SITES}
    found = {path.name for folder in sites for path in folder.glob("*.dist-info")}
    return hashlib.sha256(repr((sys.version, sorted(found))).encode()).hexdigest()[:16]


def is_installed(module: str | None) -> bool:
    """Whether a module is one of the standard library or of an installed package, so that its version says what it is."""
    if module is None or module.split(".")[0] == _PACKAGE:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return module in sys.builtin_module_names or (file is not None and _below_installed(Path(file).resolve()))


def _below_installed(path: Path) -> bool:
    return not _SITES.isdisjoint(path.parts) or any(path.is_relative_to(folder) for folder in _STANDARD)


# --- data files -----------------------------------------------------------------------------------------------------------

_watching = 0  # blocks that are open
_hooked = False
_opened_files: set[Path] = set()  # in this process: what one trace reads another may only find in memory


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Data files that are opened for reading inside the block are noted: see `opened`."""
    global _watching, _hooked
    if not _hooked:
        _hooked = True
        sys.addaudithook(_on_open)
    _watching += 1
    try:
        yield
    finally:
        _watching -= 1


def opened() -> set[Path]:
    """The data files that importing and tracing have opened in this process."""
    return set(_opened_files)


def _on_open(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not _watching or not isinstance(arguments[0], str | bytes | os.PathLike):
        return
    mode, flags = arguments[1], arguments[2]
    writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool((flags or 0) & os.O_WRONLY)
    with contextlib.suppress(Exception):  # a hook must never raise
        path = Path(os.fsdecode(arguments[0])).absolute()
        code = path.suffix in (".py", ".pyc", ".so") or "__pycache__" in path.parts
        if not writes and not code and path.parts[1:2] not in (("proc",), ("sys",), ("dev",)):
            _opened_files.add(path)


def contents(files: Iterable[Path]) -> dict[str, str]:
    """A hash of each file that is no part of an installed package; "" for one that cannot be read."""
    found = {}
    for path in sorted({path.resolve() for path in files}):
        if not _below_installed(path) and not path.is_dir():
            try:
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            except OSError:
                found[str(path)] = ""
    return found


# --- source files ---------------------------------------------------------------------------------------------------------


def imported_files(start: Path) -> set[Path]:
    """A source file and all that it imports from outside of installed packages, and they in turn."""
    found, queue = set(), [start]
    while queue:
        path = queue.pop()
        if path not in found:
            found.add(path)
            targets, modules = _imports(path, _version(path))
            queue += [target for target in targets if target.is_file()]
            queue += [file for name in modules if (file := _loaded_from(name)) is not None]
    return found


def _loaded_from(module: str) -> Path | None:
    """The source file of a loaded module that is in no installed package, in whatever folder it was found."""
    file = getattr(sys.modules.get(module), "__file__", None)
    path = Path(file).resolve() if file else None
    return path if path is not None and path.suffix == ".py" and path.is_file() and not _below_installed(path) else None


def _version(path: Path) -> tuple[int, ...]:
    said = path.stat()
    return said.st_mtime_ns, said.st_size, said.st_ino


@functools.cache  # experiments import the same files; one that was edited meanwhile is read again
def _imports(path: Path, version: tuple[int, ...]) -> tuple[list[Path], list[str]]:
    """The files that a file may import, and the names of the modules that it imports by their whole names."""
    nodes = list(ast.walk(ast.parse(path.read_bytes())))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [target for node in nodes for target in import_targets(path, node)], modules


def import_targets(path: Path, node: ast.AST) -> Iterable[Path]:
    """Files of this package, or beside `path`, that a statement of that file may import; not all of them exist."""
    if isinstance(node, ast.ImportFrom):
        module = (node.module or "").split(".")
        if node.level:
            base = path.parents[node.level - 1].joinpath(*module)
        elif module[0] == _PACKAGE:
            base = _ROOT.joinpath(*module[1:])
        else:  # a file that lies beside this one
            base = path.parent.joinpath(*module)
        stems = [base, *(base / alias.name for alias in node.names)]
    elif isinstance(node, ast.Import):
        dotted = [alias.name.split(".") for alias in node.names]
        stems = [_ROOT.joinpath(*parts[1:]) if parts[0] == _PACKAGE else path.parent.joinpath(*parts) for parts in dotted]
    else:
        return []
    return [target for stem in stems for target in (stem.with_suffix(".py"), stem / "__init__.py")]


def _code(path: Path) -> str:
    return _code_as_of(path, _version(path))


@functools.cache
def _code_as_of(path: Path, version: tuple[int, ...]) -> str:
    return _structure(_without_docstrings(ast.parse(path.read_bytes())))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            node.body = body[1:]  # type: ignore[attr-defined]
    return tree


def _structure(node: Any) -> str:
    """Text of a syntax tree that, unlike `ast.dump`, is the same in every Python version: empty fields are left out."""
    if isinstance(node, list):
        return "[" + ",".join(map(_structure, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [f"{name}={_structure(value)}" for name, value in ast.iter_fields(node) if value not in (None, [])]
    return f"{type(node).__name__}({','.join(fields)})"
