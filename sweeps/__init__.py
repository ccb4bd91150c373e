"""The engine: run an experiment over many seeds and grids, keep the result, say whether theory agrees.

from closedform.sweeps import run
result = run("xor/phases", seeds=16)            # an xarray DataTree: simulation, prediction
result = run(my_module, {"learning_rate": 0.05}, over={"model.dim": (32, 64)})
"""

from .agreement import Row, agrees, compare, prediction, statistics
from .errors import UsageError
from .execution import Settings
from .experiment import Experiment, find, find_figure, names
from .runner import load, run
from .store import provenance

__all__ = [
    "Experiment",
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
]
