"""Cells that one set of programs serves, and by what their results are named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from ..errors import UsageError
from . import config as config_
from .config import hashed
from .experiment import Experiment, labels_of, last_step, recorded_steps
from .lanes import RULE
from .precision import KEYS, precision, stored_dtype, wants_float64
from .request import Cell
from .tracing import ENGINE, NOT_KEPT, Identity, Traced, identity_of, trace

# what two traces of this process were equal in: a program that is met again is not another one each time it is traced
_confirmed: set[Identity] = set()


class Group:
    """Cells of equal static fields, recorded steps and labels."""

    def __init__(self, experiment: Experiment, steps: np.ndarray | None, end: int, labels: dict[str, tuple], keep: bool):
        self.experiment, self.steps, self.labels = experiment, steps, labels
        self.end = end  # the last step of a run; one shot counts as one
        self.cells: list[int] = []  # indices in the plan
        self.configs: list[Any] = []
        self.identity: Identity | None = None  # None: not yet asked for, or its code raised
        self._keep = keep
        self._traced: Traced | None = None

    @property
    def config(self) -> Any:
        return self.configs[0]

    @property
    def length(self) -> int:
        """Work of one run, in steps."""
        return max(1, self.end)

    def key(self) -> str:
        """A hash of all that a trace depends on, the sources aside."""
        rows = None if self.steps is None else self.steps.tolist()
        floats = sorted(config_.traced_values(self.config))
        fixed = [ENGINE, RULE, KEYS, self.experiment.name, config_.static_key(self.config)]
        return hashed([*fixed, rows, self.end, self.labels, floats])

    def traced(self) -> Traced:
        """The programs, traced at the first call. Raises `UsageError` for a broken contract, and what the code raises."""
        if self._traced is None:
            self._traced = trace(self.experiment, self.config, self.steps, self.end, self._keep)
        return self._traced

    def confirmed(self) -> Traced:
        """The programs, traced twice, so that what no trace shows (a clock, NumPy's random numbers) is seen and refused."""
        first = self.traced()
        if first.identity in _confirmed:
            return first
        second = trace(self.experiment, self.config, self.steps, self.end, self._keep)
        for what in ("simulation", "prediction"):
            if getattr(first.identity, what) != getattr(second.identity, what):
                raise UsageError(
                    f"{self.experiment.name}: its {what} is another program each time it is traced: something outside of "
                    "JAX decides it, such as numpy.random, a clock or a counter; allowed: draws from the key, and constants"
                )
        _confirmed.add(second.identity)
        self._traced = second
        return second

    def unchanged(self) -> bool:
        """Whether the arrays inside of the programs are still those that were digested: NumPy's can be changed in place."""
        traced, float64 = self.traced(), wants_float64(self.config)
        if traced.identity.simulation == NOT_KEPT:
            return True
        with precision(float64):
            said = (self.experiment, self.config, self.steps, self.end, traced.functions, traced.predictions, traced.lanes)
            return identity_of(*said) == traced.identity

    @property
    def shapes(self) -> dict[str, Any]:
        """Of one run, by side."""
        return self.traced().shapes

    @property
    def simulated(self) -> list[Any]:
        """The shapes of what the simulation of a run leaves at one step: its `Result`, and its `Curves` if there are any."""
        return [self.shapes[side] for side in ("simulation", "curves") if side in self.shapes]

    def named(self, side: str, result: Any, lead: tuple[str, ...]) -> Iterator[tuple[tuple[str, str], tuple[str, ...], Any]]:
        """`((group, field), axes, leaf)` of a side's result, as files name them; curves are the simulation's.

        `lead` are the axes that its leaves begin with.
        """
        curves = side == "curves"
        axes = (*lead, "step") if self.experiment.dynamics or curves else lead
        for name, field in (self.experiment.curves if curves else self.experiment.fields).items():
            if (leaf := getattr(result, name)) is not None:
                yield ("simulation" if curves else side, name), (*axes, *field.axes), leaf

    def result_bytes(self) -> int:
        """Bytes that one run leaves behind: its history, and as many float64 predictions as can be conditional on a draw."""
        rows = 1 if self.steps is None else max(1, len(self.steps))
        leaves = jax.tree.leaves(self.simulated)
        numbers = rows * sum(leaf.size for leaf in leaves)
        sides = len(self.experiment.predictions) if self.experiment.conditional else 0
        return max(1, numbers * (max((stored_dtype(leaf.dtype).itemsize for leaf in leaves), default=4) + 8 * sides))

    def trained_name(self, root_seed: int, config: Any) -> str:
        """The name of the trained runs of a cell, equal for cells that differ only in what is measured."""
        identity = self.traced().identity
        values = config_.traced_values(config)
        mine = {name: values[name] for name in identity.trained_by}
        return hashed([self.experiment.name, root_seed, identity.training, mine])


def gather(experiment: Experiment, cells: list[Cell], keep: bool = True) -> tuple[list[Group], dict[int, Exception]]:
    """The groups of some cells, and the cells whose own code raised; nothing is traced.

    A cell that breaks the contract is an error of the request (`UsageError`).
    """
    gathered: dict[Any, Group] = {}
    failed: dict[int, Exception] = {}
    for index, cell in enumerate(cells):
        try:
            steps, labels = recorded_steps(experiment, cell.config), labels_of(experiment, cell.config)
            end = last_step(experiment, cell.config, steps)
        except UsageError:
            raise
        except (Exception, SystemExit) as error:
            failed[index] = ended(error)
            continue
        key = (config_.static_key(cell.config), steps if steps is None else steps.tobytes(), end, json.dumps(labels))
        if key not in gathered:
            gathered[key] = Group(experiment, steps, end, labels, keep)
        gathered[key].cells.append(index)
        gathered[key].configs.append(cell.config)
    return list(gathered.values()), failed


def ended(error: BaseException) -> Exception:
    """The error itself; for code that would end the process, an error that says so."""
    said = f"the code ends the process ({type(error).__name__}: {error})"
    return error if isinstance(error, Exception) else RuntimeError(said)


def chunks(values: list, size: int) -> Iterator[list]:
    """A list in pieces of at most `size`."""
    return (values[start : start + size] for start in range(0, len(values), size))
