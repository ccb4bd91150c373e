"""A digest of the code that a result depends on: comments, docstrings and layout aside, the same in every Python version.

A result that was computed by an earlier version of the code is shown as stale and is never mixed with new ones.
"""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import hashlib
import inspect
import sys
import sysconfig
import textwrap
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_PACKAGE = __name__.split(".")[0]
_ROOT = Path(__file__).resolve().parents[2]
# read when results are compared, never part of one
_METADATA = frozenset({"TOLERANCE", "SHARED", "QUICK", "GRID", "PRESETS", "SEEDS"})
_INSTALLED = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def source_digest(module: ModuleType) -> str:
    """Hash of the code of an experiment and of all it imports from its own package or folder.

    What is only read when results are compared (TOLERANCE, GRID, ... and constants that nothing else uses) does not count, so a
    tolerance can be discussed without making a result stale. Of an imported file all counts, used or not. Of a plain function
    (its module then has FUNCTIONS) the code that it can reach counts: the functions, classes, values and modules that it names.
    """
    digest = hashlib.sha256()
    functions, file = getattr(module, "FUNCTIONS", ()), getattr(module, "__file__", None)
    if functions or file is None:  # a function; or a module that was typed into a session
        known = functions or [value for name, value in sorted(vars(module).items()) if not name.startswith("__")]
        for text in _reached([*known, getattr(module, "Config", None)]):
            digest.update(text.encode())
    else:
        for path in _deciding(Path(file)):
            digest.update(_code(path, skip=_METADATA if path == Path(file).resolve() else frozenset()).encode())
    return digest.hexdigest()[:16]


def _reached(things: Iterable[Any]) -> list[str]:
    """Texts of all that decides the numbers of some functions, in the order in which it is met.

    Functions and classes by their syntax, and then what they name, close over, inherit or default to; values by value;
    what an installed package defines by its name.
    """
    texts: list[str] = []
    seen: dict[int, Any] = {}  # the things themselves too: a number is an identity only while its thing lives
    queue = list(things)
    while queue:
        thing = queue.pop(0)
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        text, further = _described(thing)
        texts.append(text)
        queue += further
    return texts


def _described(thing: Any) -> tuple[str, list[Any]]:
    """A text for a thing, and the things that it is made of."""
    if isinstance(thing, bool | int | float | complex | str | bytes | type(None)):
        return repr(thing), []
    if isinstance(thing, tuple | list):
        return f"{type(thing).__name__} {len(thing)}", list(thing)
    if isinstance(thing, set | frozenset):
        return f"set {sorted(map(repr, thing))}", []
    if isinstance(thing, dict):
        return f"dict {list(map(repr, thing))}", list(thing.values())
    if isinstance(thing, functools.partial):
        return "partial", [thing.func, thing.args, thing.keywords]
    if isinstance(thing, MethodType):
        return "method", [thing.__func__, thing.__self__]
    if isinstance(thing, ModuleType):
        file = getattr(thing, "__file__", None)
        codes = [_code(path) for path in _deciding(Path(file))] if file and _own(thing) else []
        return f"module {thing.__name__} {codes}", []
    home = sys.modules.get(getattr(thing, "__module__", None) or "")
    if isinstance(thing, FunctionType | type):
        if not _own(home):
            return f"{thing.__module__}.{thing.__qualname__}", []
        return _source(thing), _parts_of(thing)
    if hasattr(thing, "__wrapped__"):  # jax.jit(function) and other decorators
        return "wrapped", [thing.__wrapped__]
    if hasattr(thing, "__array__") and hasattr(thing, "dtype"):
        array = np.asarray(thing)
        return f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}", []
    name = str(getattr(thing, "__qualname__", type(thing).__qualname__))
    if _own(sys.modules.get(type(thing).__module__)) and hasattr(thing, "__dict__"):
        return name, [type(thing), vars(thing)]  # an object of a class of the user's
    return name, []


def _parts_of(thing: FunctionType | type) -> list[Any]:
    """What a function names, closes over and defaults to; the methods and bases of a class."""
    if isinstance(thing, type):
        members = [vars(thing)[name] for name in sorted(vars(thing)) if not name.startswith("__") or name == "__call__"]
        members = [member.fget if isinstance(member, property) else member for member in members]
        return [*thing.__bases__, *(getattr(member, "__func__", member) for member in members if callable(member))]
    cells = zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True)
    closed = {}
    for name, cell in cells:
        with contextlib.suppress(ValueError):  # not yet assigned
            closed[name] = cell.cell_contents
    values = {**thing.__globals__, **closed}
    named = [values[name] for name in _names_in(thing.__code__) if name in values]
    return [*named, *_imported_by(thing.__code__), thing.__defaults__, thing.__kwdefaults__]


def _own(module: ModuleType | None) -> bool:
    """Whether a module is the user's (or of this package): not of the standard library or another installed package."""
    if module is None or module.__name__.split(".")[0] == _PACKAGE or getattr(module, "__file__", None) is None:
        return module is None or module.__name__ not in sys.builtin_module_names
    return not any(Path(str(module.__file__)).resolve().is_relative_to(folder) for folder in _INSTALLED)


def _names_in(code: CodeType) -> Iterable[str]:
    """Names that the code, with all that is defined inside it, looks up outside."""
    yield from (*code.co_names, *code.co_freevars)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _imported_by(code: CodeType) -> Iterable[ModuleType]:
    """Modules that are imported inside a function, as far as it has been called or traced."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME" and instruction.argval in sys.modules:
            yield sys.modules[instruction.argval]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _imported_by(constant)


def _source(thing: FunctionType | type) -> str:
    """The syntax of a function or class; of a lambda, or where there is no source, its bytecode."""
    if thing.__name__ != "<lambda>":
        with contextlib.suppress(OSError, TypeError, SyntaxError):
            return _structure(_without_docstrings(ast.parse(textwrap.dedent(inspect.getsource(thing)))))
    if isinstance(thing, FunctionType):
        return _bytecode(thing.__code__)
    return repr(sorted(vars(thing)))


def _bytecode(code: CodeType) -> str:
    constants = [_bytecode(constant) if isinstance(constant, CodeType) else repr(constant) for constant in code.co_consts]
    return f"{code.co_code.hex()} {constants} {code.co_names} {code.co_varnames}"


def _deciding(start: Path) -> list[Path]:
    """A source file and its imports, without contract.py, which checks a Config and decides no number."""
    return sorted(imported_files(start.resolve()) - {_ROOT / "contract.py"})


def imported_files(start: Path) -> set[Path]:
    """A source file and all that it imports from its own package or folder, and they in turn."""
    found, queue = set(), [start]
    while queue:
        path = queue.pop()
        if path in found:
            continue
        found.add(path)
        queue += [target for target in _all_targets(path, _version(path)) if target.is_file()]
    return found


def _version(path: Path) -> tuple[int, ...]:
    said = path.stat()
    return said.st_mtime_ns, said.st_size, said.st_ino


@functools.cache  # experiments import the same files; one that was edited meanwhile is read again
def _all_targets(path: Path, version: tuple[int, ...]) -> list[Path]:
    return [target for node in ast.walk(ast.parse(path.read_bytes())) for target in import_targets(path, node)]


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


def _code(path: Path, skip: frozenset[str] = frozenset()) -> str:
    return _code_as_of(path, _version(path), skip)


@functools.cache
def _code_as_of(path: Path, version: tuple[int, ...], skip: frozenset[str]) -> str:
    tree = _without_docstrings(ast.parse(path.read_bytes()))
    gone = [node for node in tree.body if isinstance(node, ast.Assign) and _names(node) & skip]
    kept = [node for node in tree.body if node not in gone]
    while only := [n for n in kept if isinstance(n, ast.Assign) and _names(n) and _names(n) <= _read(gone) - _read(kept)]:
        gone, kept = gone + only, [node for node in kept if node not in only]
    tree.body = kept
    return _structure(tree)


def _read(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that some statements look up."""
    parts = (part for node in nodes for part in ast.walk(node))
    return {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            node.body = body[1:]  # type: ignore[attr-defined]
    return tree


def _names(node: ast.Assign) -> set[str]:
    return {target.id for target in node.targets if isinstance(target, ast.Name)}


def _structure(node: Any) -> str:
    """Text of a syntax tree that, unlike `ast.dump`, is the same in every Python version: empty fields are left out."""
    if isinstance(node, list):
        return "[" + ",".join(map(_structure, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [f"{name}={_structure(value)}" for name, value in ast.iter_fields(node) if value not in (None, [])]
    return f"{type(node).__name__}({','.join(fields)})"
