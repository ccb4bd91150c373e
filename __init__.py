"""Analytic predictions of deep-learning theory beside the networks they predict.

The folders are the map: `models` (networks), `tasks` (data), `theory` (predictions), `solvers` (from data to parameters),
`experiments` (where these meet), `figures` (the pictures), `sweeps` (the engine that runs, stores and compares), `gallery`
(site, report, bibliography), `benchmarks` (speed); `contract` is what a Config declares. After `import closedform` alone, what
is named is imported: `closedform.theory.kernels.deep_kernels.gram(x)`.
"""

import importlib
import sys
from collections.abc import Callable
from importlib import metadata
from types import ModuleType

__version__ = metadata.version("closedform")  # as pyproject.toml says


def lazily(package: str) -> tuple[Callable[[str], ModuleType], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package (PEP 562): its modules are imported when they are first named."""

    def modules() -> set[str]:
        import pkgutil

        found = {one.name for one in pkgutil.iter_modules(sys.modules[package].__path__)}
        return {name for name in found if not name.startswith("_") and name != "setup"}  # setup.py lies in a checkout

    def get(name: str) -> ModuleType:
        if name in modules():
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted(modules() | set(vars(sys.modules[package])))


__getattr__, __dir__ = lazily(__name__)
