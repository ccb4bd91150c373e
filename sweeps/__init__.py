"""The engine: run an experiment over many seeds and grids, keep the result, say whether theory agrees.

from closedform.sweeps import run, sweep
result = run("xor/phases", seeds=16)            # an xarray DataTree: simulation, prediction
result = sweep("xor/phases", {"learning_rate": 0.05}, over={"model.dim": (32, 64)})
result = sweep(simulate, {"learning_rate": 0.1}, over={"learning_rate": (0.1, 0.2)}, seeds=64)    # any simulate(key, config)
"""

from .agreement import Row, agrees, compare, prediction, statistics
from .errors import UsageError
from .execution import Settings
from .experiment import Experiment, find, find_figure, names
from .launch import Launcher, submit
from .runner import load, run, sweep
from .store import provenance

__all__ = [
    "Experiment",
    "Launcher",
    "Row",
    "Settings",
    "UsageError",
    "agrees",
    "compare",
    "find",
    "find_figure",
    "load",
    "names",
    "prediction",
    "provenance",
    "run",
    "statistics",
    "submit",
    "sweep",
]
