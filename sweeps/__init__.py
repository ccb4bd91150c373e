"""The engine: run an experiment over many seeds and grids, keep the result, say whether theory agrees.

from closedform.sweeps import run, sweep
result = run("xor/phases", seeds=16)            # an xarray DataTree: simulation, prediction
result = sweep("xor/phases", {"learning_rate": 0.05}, over={"model.dim": (32, 64)})
result = sweep(simulate, {"learning_rate": 0.1}, over={"learning_rate": (0.1, 0.2)}, seeds=64)    # any simulate(key, config)

How a request goes through the files: experiment (the module, read) and config (its values) -> digest (of its sources) -> plan
(cells, groups that share programs, parts that share a file) -> runner (what is stored is not computed again) -> assemble (what
is on disk) -> job (claims parts, hands out their runs) <-> execution (threads, blocks, chunks) -> programs (what is compiled)
-> store (files of results), states (what was trained), checkpoints, claims -> assemble (one labelled result) -> agreement
(rows) -> report (table, figure). Beside them: functions (any function as an experiment), launch (several processes), status
and stored (reading a results folder), traced (the digest of a traced program), placeholder (results for the tests).
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
