"""Options that commands share, and how words become them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from ..sweeps.contract.experiment import Experiment, find, names
from ..sweeps.contract.names import is_file
from ..sweeps.contract.request import resolve
from ..sweeps.errors import UsageError, on_stderr, unknown

if TYPE_CHECKING:
    from ..sweeps import Settings


@dataclasses.dataclass
class Stored:
    results: Path = Path("results")
    """Folder of the results."""
    root_seed: int = 0
    """Seed i of a run uses fold_in(key(root_seed), i)."""
    all: bool = False
    """Every row of the agreement table; else the 20 that are worst relative to their allowance."""
    quiet: bool = False
    """Only the last line: no table, no progress, no notes. The exit code tells the same."""


@dataclasses.dataclass
class Computed(Stored):
    seeds: str | None = None
    """How many (16), or which (5-10 or 0,3,8); the experiment's own number if not given. More seeds later keep the first."""
    refresh: bool = False
    """Compute again what was computed by an earlier version of the code (never mixed with new results)."""


@dataclasses.dataclass
class Executed(Computed):
    preset: str | None = None
    """Sizes to start from; see PRESETS in the module. Fields given by --config change them."""
    threads: int | None = None
    """Threads of a CPU; one a core if not given."""
    block: int | None = None
    """Runs in a block; as many as suit the device and its memory if not given."""
    chunk: int | None = None
    """Steps between two looks at the clock; about half a second's worth if not given."""
    checkpoint_minutes: float = 5.0
    """Time between two checkpoints of a run."""

    def settings(self) -> Settings:
        """How to execute."""
        from ..sweeps import Settings

        return Settings(threads=self.threads, block=self.block, chunk=self.chunk, checkpoint_minutes=self.checkpoint_minutes)


@dataclasses.dataclass
class Swept(Executed):
    over: tyro.conf.UseAppendAction[list[str]] = dataclasses.field(default_factory=list)
    """FIELD=V1,V2,...: one axis of the grid; repeat it for more."""
    zip: bool = False
    """Walk the lists of --over side by side, as pairs, instead of their product."""
    retry_failed: bool = False
    """Run cells again that raised before."""
    launcher: Literal["none", "local", "slurm"] = "none"
    """Compute here; in several processes of this machine; or as one Slurm array job (extra: cluster)."""
    nodes: int = 2
    """Processes of the launcher; under Slurm each gets a node or a share of one."""
    time: int = 60
    """Minutes that a process may take; under Slurm it is then requeued and goes on."""
    cpus: int | None = None
    """Cores of a process."""
    gpus: int = 0
    """Accelerators of a process."""
    memory: float | None = None
    """Gigabytes of a process."""
    partition: str | None = None
    """Slurm partition."""
    slurm: tyro.conf.UseAppendAction[list[str]] = dataclasses.field(default_factory=list)
    """NAME=VALUE: a further option of sbatch, such as account=theory; repeat it for more."""


@dataclasses.dataclass
class OfPaper:
    """What is asked of a paper."""

    paper: tyro.conf.Positional[str] = dataclasses.field(kw_only=True)
    """A paper (xor), one of its experiments (xor/phases), or a file of your own (my_paper.py, my_model.py:simulate)."""
    preset: str | None = None
    """Named sizes that experiments offer beside the default; one that does not offer them is left out."""


_SEEDS = "allowed: how many (--seeds 16), a range (--seeds 5-10), or a list of both (--seeds 0,3,5-10)"


def seeds_of(text: str | None) -> int | list[int] | range | None:
    """The seeds that --seeds spells. Raises `UsageError`.

    >>> seeds_of("16"), seeds_of("5-10"), seeds_of("0,3,5-7"), seeds_of(None)
    (16, range(5, 11), [0, 3, 5, 6, 7], None)
    """
    if text is None:
        return None
    if re.fullmatch(r"-?\d+", text.strip()):
        return int(text)
    ranges: list[range] = []
    for piece in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", piece)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last < 2**32:
            raise UsageError(f"seeds: got {text!r}; {_SEEDS}")
        ranges.append(range(first, last + 1))
    return ranges[0] if len(ranges) == 1 else [seed for one in ranges for seed in one]


def silent(message: str) -> None:
    """Where notes go with --quiet."""


def asked_for(chosen: OfPaper) -> list[tuple[Experiment, Any]]:
    """The experiments of a paper, or a file of the user's own, with configs; what lacks the preset is left out, and said."""
    found = [resolve(chosen.paper)] if is_file(chosen.paper) else [(find(name), None) for name in names(chosen.paper)]
    preset = chosen.preset
    if preset is not None and not any(preset in experiment.presets for experiment, _ in found):
        offers = set().union(*(experiment.presets for experiment, _ in found))
        raise unknown(f"preset of {chosen.paper}", preset, offers)
    for experiment, _ in found:
        if preset is not None and preset not in experiment.presets:
            on_stderr(f"{experiment.name}: has no preset {preset!r}, left out")
    offering = [one for one in found if preset is None or preset in one[0].presets]
    return [(experiment, experiment.default_config(preset, config)) for experiment, config in offering]
