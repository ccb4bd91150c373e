"""A sweep as an array of processes, on this machine or under Slurm, through submitit.

Every process of the array is told the same thing, the whole sweep, and takes part after part of what nobody else has claimed: a
slow one takes less, one that dies leaves its part to the others, and more processes can be added later. They communicate only
through the folder of the results, which all of them must see.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

from ..console import utf8
from .api import ENGINE_DECIDES, ask, complete
from .contract import config as config_
from .contract.config import hashed
from .contract.functions import from_file
from .contract.names import parts, source_file
from .contract.precision import settle
from .contract.request import Alone, Experimental, Plan, Request
from .engine.batches import Settings
from .engine.queue import Queue
from .errors import UsageError
from .results.failures import forget_failures
from .results.notes import manifest, note_request, write_whole
from .results.store import check_writable

_SIGNAL_SECONDS = 90  # Slurm warns a process this long before its time is up: enough to write its checkpoints


@dataclasses.dataclass(frozen=True)
class Launcher:
    """Where the processes of a sweep run and what each may use."""

    kind: Literal["local", "slurm"] = "local"  # processes of this machine, or one Slurm array job
    nodes: int = 2  # processes; under Slurm each on a node of its own or where Slurm finds room
    time: int = 60  # minutes that a process may take; under Slurm it is then requeued and goes on
    cpus: int | None = None  # cores of a process
    gpus: int = 0  # accelerators of a process
    memory: float | None = None  # gigabytes of a process
    partition: str | None = None  # of Slurm
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)  # further options of sbatch, {"account": "theory"}

    def __post_init__(self) -> None:
        if self.kind not in ("local", "slurm"):
            raise UsageError(f"launcher: got {self.kind!r}; allowed: 'local' or 'slurm'")
        for name in ("nodes", "time", "cpus", "memory"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name}: got {value!r}; allowed: a positive number")
        if not self.gpus >= 0:
            raise UsageError(f"gpus: got {self.gpus!r}; allowed: a number of at least 0")


def submit(
    experiment: Experimental,
    config: Any = None,
    *,
    launcher: Launcher,
    refresh: bool = False,
    retry_failed: bool = False,
    settings: Settings = ENGINE_DECIDES,
    **request: Any,
) -> list[Any]:
    """Start the processes of a sweep and return their submitit jobs at once; `sweep` with the same arguments collects.

    The arguments are those of `sweep`: over, zipped, seeds, root_seed, results and predict as well. A function is
    passed to the processes by the name of its file, so it must stand at the top level of a file.
    """
    try:
        import submitit
    except ImportError:
        raise UsageError("launcher: needs submitit; first: pip install 'closedform[cluster]'") from None

    asked = Request(experiment, config, **request)
    plan = ask(asked._replace(results=Path(asked.results).resolve()))
    settings = settings.checked()
    check_writable(plan.folder)
    note_request(plan, launcher.nodes)
    if retry_failed:
        forget_failures(plan)
    by_name: Any = None if asked.predict is None else _target(asked.predict)
    config, folder = _portable(plan), plan.folder
    portable = Request(_target(experiment), config, plan.axes, asked.zipped, plan.seeds, plan.root_seed, folder, by_name)
    logs = plan.home / "jobs" / hashed(manifest(plan))
    try:
        executor = submitit.AutoExecutor(folder=logs, cluster=launcher.kind, slurm_max_num_timeout=1000)
    except RuntimeError as error:
        raise UsageError(f"launcher slurm: {error}; is Slurm installed on this machine?") from error
    limits: dict[str, Any] = {
        "name": f"closedform-{plan.experiment.name.replace('/', '-')}",
        "timeout_min": launcher.time,
        "cpus_per_task": launcher.cpus,
        "gpus_per_node": launcher.gpus,
        "mem_gb": launcher.memory,
    }
    if launcher.kind == "slurm":
        limits |= {"nodes": 1, "tasks_per_node": 1, "slurm_array_parallelism": launcher.nodes}
        limits |= {"slurm_signal_delay_s": min(_SIGNAL_SECONDS, 20 * launcher.time)}
        limits |= {"slurm_partition": launcher.partition, "slurm_additional_parameters": dict(launcher.options)}
    executor.update_parameters(**{name: value for name, value in limits.items() if value})
    return executor.map_array(Task(portable, refresh, settings), range(launcher.nodes))


def end(jobs: Sequence[Any]) -> None:
    """Interrupt the processes of this machine and wait until they have ended; they have a second to store what there is."""
    for job in jobs:
        job.cancel()
    while not all(job.done() for job in jobs):
        time.sleep(0.05)


class Task:
    """One process of the array: computes what no other process does, until nothing is left or it is told to stop."""

    def __init__(self, asked: Request, refresh: bool, settings: Settings):
        self._arguments = (asked, refresh, settings)
        self.asked, self.refresh, self.settings = self._arguments

    def __call__(self, number: int) -> dict[str, Any]:
        """Work, in a thread: the main one has to hear Slurm's signals. Returns how many cells of the sweep have failed."""
        self._job: Queue | None = None
        self._stopped = False
        utf8(sys.stdout, sys.stderr)
        settle()
        outcome: dict[str, Any] = {}

        def body() -> None:
            try:
                outcome["failed"] = self._work()
            except BaseException as error:
                outcome["error"] = error

        self._thread = threading.Thread(target=body)
        self._thread.start()
        try:
            while self._thread.is_alive():
                self._thread.join(0.5)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's, then the launcher's: one wish
            self._stop()
            raise
        if "error" in outcome:
            raise outcome["error"]
        return outcome

    def checkpoint(self, number: int) -> Any:
        """Called by submitit when Slurm is about to end the process: store what there is; then the process is requeued."""
        from submitit.helpers import DelayedSubmission

        self._stop()
        return DelayedSubmission(Task(*self._arguments), number)

    def _stop(self) -> None:
        """Stop the work, and wait until it is stored."""
        self._stopped = True
        if self._job is not None:
            self._job.stop.set()
        self._thread.join()

    def _work(self) -> int:
        config, predict = _restored(self.asked.config), self.asked.predict
        predict = from_file(predict) if isinstance(predict, str) else predict
        plan = ask(self.asked._replace(config=config, predict=predict))
        tree, failed = complete(plan, self.refresh, self.settings, True, print, wait=False, started=self._started)
        if tree is not None:
            write_whole(plan, tree)
        return len(failed)

    def _started(self, queue: Queue) -> None:
        self._job = queue
        if self._stopped:
            queue.stop.set()


def _portable(plan: Plan) -> Any:
    """The config as plain values; of a function that takes a dataclass, also where that is defined."""
    config = plan.cells[0].config
    if plan.experiment.plain:
        return _sent(plan.experiment.as_given(config))
    return {leaf.path: _sent(leaf.value) for leaf in config_.leaves(config)}


class _Elsewhere(NamedTuple):
    """A value whose class stands in a file which the other process has not imported yet."""

    kind: str
    made_of: Any  # the name of a member of an Enum, or the fields of a dataclass


def _sent(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return _Elsewhere(_target(type(value)), value.name)
    if dataclasses.is_dataclass(value):
        return _Elsewhere(
            _target(type(value)), {field.name: _sent(getattr(value, field.name)) for field in dataclasses.fields(value)}
        )
    if isinstance(value, Mapping):
        return {name: _sent(one) for name, one in value.items()}
    return tuple(map(_sent, value)) if type(value) is tuple else value


def _restored(value: Any) -> Any:
    if isinstance(value, _Elsewhere):
        kind, made_of = from_file(value.kind), _restored(value.made_of)
        return kind[made_of] if isinstance(made_of, str) else kind(**made_of)
    if isinstance(value, Mapping):
        return {name: _restored(one) for name, one in value.items()}
    return tuple(map(_restored, value)) if type(value) is tuple else value


def _target(thing: Any) -> str:
    """How another process finds an experiment: its name, or its file (and function)."""
    if isinstance(thing, str):
        name, function = parts(thing)
        file = Path(os.path.expanduser(name)).resolve()
        return f"{file}:{function}" if function else str(file) if name.endswith(".py") else thing
    if isinstance(thing, ModuleType):
        file = getattr(thing, "__file__", None)
        if thing.__name__.partition(".")[0] == __name__.partition(".")[0]:
            return thing.__name__.partition(".experiments.")[2].replace(".", "/")
        if file:
            return str(Path(file).resolve())
    else:
        file, name = source_file(thing), getattr(thing, "__qualname__", "<lambda>")
        if file and name.isidentifier():
            return Alone(f"{file}:{name}")
    raise UsageError(f"launcher: {thing!r} cannot be found by another process; it must stand at the top level of a file")
