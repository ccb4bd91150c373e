"""The engine: run an experiment over many seeds and grids, keep the result, say whether theory agrees.

from closedform.sweeps import run, sweep
result = run("xor/phases", seeds=16)            # an xarray DataTree: simulation, prediction
result = sweep("xor/phases", {"learning_rate": 0.05}, over={"model.dim": (32, 64)})
result = sweep(simulate, {"learning_rate": 0.1}, over={"learning_rate": (0.1, 0.2)}, seeds=64)    # any simulate(key, config)

Three rooms, in the order in which a request goes through them:

    contract/   what is asked: experiment (a module, read), config (its values), functions (any function as an experiment) with
                given (its config) and returned (its result),
                request (cells and seeds), names, tracing and digest (the traced programs, and what they are named by),
                groups (cells that share them), sources (where a digest can be looked up), precision
    engine/     how it is computed: plan (parts that share a file), queue (hands out their runs) with part (one of them) and
                opening (what is on disk of it), batches (what is handed out), executor (threads), runner (blocks, chunks),
                programs (what is compiled), predictions (theory alone), checkpoints, leftovers (of a kill), progress,
                provenance; placeholder (results for the tests)
    results/    what is kept: identities (by what results are named), store (files), netcdf (their bytes), sealed (their
                checksums), states and lazy (what was trained), locks, failures, notes (what was asked), stock (which runs are
                there), merge and loading (one labelled result), single (one file), agreement (rows), report (table, figure),
                printed (the table as a value), tables (how wide), listing (of papers), catalogue
    api         run, sweep, load: what is stored is not computed again; memory: what fits
    curves      theory at more points than are simulated, for figures
    cluster     the same by several processes
    prune       what is stale or superseded
"""

import importlib
from typing import TYPE_CHECKING, Any

from .. import lazily

if TYPE_CHECKING:  # imported when they are first used: reading what is stored, and help, need no JAX
    from .api import load, predict, run, sweep
    from .cluster import Launcher, submit
    from .contract.experiment import Experiment, find, find_figure, names
    from .curves import with_theory
    from .engine.batches import Settings
    from .errors import UsageError
    from .results.agreement import Row, agrees, allowance, compare, curve, prediction, statistics
    from .results.printed import Agreement, agreement
    from .results.store import provenance

__all__ = [
    "Agreement",
    "Experiment",
    "Launcher",
    "Row",
    "Settings",
    "UsageError",
    "agreement",
    "agrees",
    "allowance",
    "compare",
    "curve",
    "find",
    "find_figure",
    "load",
    "names",
    "predict",
    "prediction",
    "provenance",
    "run",
    "statistics",
    "submit",
    "sweep",
    "with_theory",
]

_DEFINED_IN = {
    "api": ("load", "predict", "run", "sweep"),
    "cluster": ("Launcher", "submit"),
    "contract.experiment": ("Experiment", "find", "find_figure", "names"),
    "curves": ("with_theory",),
    "engine.batches": ("Settings",),
    "errors": ("UsageError",),
    "results.agreement": ("Row", "agrees", "allowance", "compare", "curve", "prediction", "statistics"),
    "results.printed": ("Agreement", "agreement"),
    "results.store": ("provenance",),
}
_module, _names = lazily(__name__)


def __getattr__(name: str) -> Any:
    for module, defined in _DEFINED_IN.items():
        if name in defined:
            value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            return value
    return _module(name)


def __dir__() -> list[str]:
    return sorted({*_names(), *__all__})
