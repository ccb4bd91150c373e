"""The rows by which benchmarks are judged: a ratio and its goal each, kept as JSON, shown as one table.

A ratio is that of two times measured one right after the other, in a process each; of several rounds the median counts. Every
benchmark ends with `finish`; `python -m closedform.benchmarks` runs all of them and prints the table.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "diffrax", "torch", "torchdiffeq", "torchdeq", "scikit-learn", "pyscnn")
_VECTORS = ("avx512f", "avx2", "asimd")  # flags of processors, the widest first


class Row(NamedTuple):
    """One line of the table."""

    row: str
    ratios: list[float]  # one a round
    sign: str  # ">=" or "<="
    goal: float

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool:
        return self.ratio >= self.goal if self.sign == ">=" else self.ratio <= self.goal


def row(name: str, ratios: Iterable[float], sign: str, goal: float) -> list[Row]:
    """The row; none where nothing was measured, as a peer is not installed."""
    measured = [float(ratio) for ratio in ratios]
    return [Row(name, measured, sign, goal)] if measured else []


def machine() -> dict[str, Any]:
    """What the times depend on: the processor, its widest vectors, the cores that may be used, the versions, other load."""
    said = _cpuinfo()
    flags = set(re.findall(r"\w+", said))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = re.search(r"^model name\s*:\s*(.*)$", said, flags=re.MULTILINE)
    return {
        "processor": name[1].strip() if name else platform.processor() or platform.machine(),
        "vectors": next((flag for flag in _VECTORS if flag in flags), "unknown"),
        "cores": cores,
        "load": [round(value, 1) for value in os.getloadavg()] if hasattr(os, "getloadavg") else [],
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def _versions() -> dict[str, str]:
    installed = {}
    for name in _PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def finish(rows: Sequence[Row], path: Path | None) -> None:
    """Print the rows of a benchmark, and keep them with the machine as JSON, if a path is given."""
    print("\n" + "\n".join(lines(rows)))
    if path is not None:
        save(path, machine(), rows)


def save(path: Path, on: dict[str, Any], rows: Sequence[Row]) -> None:
    """One file a machine or benchmark: {"machine": ..., "rows": [{"row", "ratios", "sign", "goal"}, ...]}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": on, "rows": [one._asdict() for one in rows]}, indent=1) + "\n")


def load(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """What `save` wrote."""
    said = json.loads(path.read_text())
    return said["machine"], [Row(**one) for one in said["rows"]]


def spread(values: Sequence[float]) -> str:
    """Least, median, greatest."""
    return " / ".join(f"{value:.2f}" for value in (min(values), statistics.median(values), max(values)))


def lines(rows: Sequence[Row]) -> list[str]:
    """The table as text."""
    wide = max([len(one.row) for one in rows], default=3)
    head = f"{'row':<{wide}}  {'min / median / max':>22}  goal"
    return [head, *(f"{one.row:<{wide}}  {spread(one.ratios):>22}  {_goal(one)}" for one in rows)]


def _goal(one: Row) -> str:
    return f"{one.sign} {one.goal:<5g} {'reached' if one.reached else 'short'}"


def page(paths: Sequence[Path]) -> str:
    """The tables of several machines in Markdown, a section each; a sentence where there is none."""
    parts = []
    for path in paths:
        on, rows = load(path)
        versions = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
        load_then = " / ".join(f"{value:g}" for value in on["load"])
        about = (
            f"{on['cores']} cores, {on['vectors']}; {versions}. Load of the last 1, 5, 15 minutes: {load_then or 'unknown'}."
        )
        flags = f" XLA_FLAGS: `{on['xla_flags']}`." if on["xla_flags"] else ""
        table = ["| row | min / median / max | goal |", "|---|---|---|"]
        table += [f"| {one.row} | {spread(one.ratios)} | {_goal(one)} |" for one in rows]
        parts.append("\n".join([f"## {on['processor']}", "", about + flags, "", *table, ""]))
    return "\n".join(parts) or "No table is kept yet.\n"
