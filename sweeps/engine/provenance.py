"""Where a result comes from: what is written beside its numbers."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from .. import memory
from ..contract import config as config_
from ..contract.request import Plan

_ROOT = Path(__file__).resolve().parents[2]


def new(plan: Plan, config: Any, seconds: float) -> dict[str, Any]:
    """What numbers are, and the process that stores them; seeds stand in the file as a coordinate."""
    return {
        "experiment": plan.experiment.name,
        "config": config_.as_dict(config),
        "root_seed": plan.root_seed,
        "sources": plan.sources,
        **origin(),
        "seconds": seconds,
        "when": time.time(),
        "memory": memory.peak_bytes(),
    }


def origin() -> dict[str, Any]:
    """This process: what might differ in the last bits of its numbers from those of another."""
    import jax

    device = jax.local_devices()[0]
    return {
        "git": _git(),
        "versions": dict(_versions()),
        "device": f"{device.platform}: {device.device_kind}",
        "processor": _processor(),
        "cores": cores(),
        "flags": _flags(),
    }


def cores() -> int:
    """Cores that this process may use: its affinity, and what Slurm has given to the task."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(available, int(granted)) if granted.isdigit() and int(granted) > 0 else available


@functools.cache  # asked for with every file, and each answer is read from disk
def _versions() -> dict[str, str]:
    packages = ("closedform", "jax", "jaxlib", "numpy", "diffrax", "optimistix", "xarray")
    return {package: importlib.metadata.version(package) for package in packages}


@functools.cache
def _processor() -> str:
    """The model of the processor, by which XLA chooses its instructions."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


# of JAX, as XLA_FLAGS may have them; where they are as they come (in any version of JAX) they are not written
_COMPILING = ("jax_disable_most_optimizations", "jax_optimization_level", "jax_exec_time_optimization_effort")
_AS_THEY_COME = (None, False, 0.0, "UNKNOWN")


def _flags() -> str:
    """What the compiler was told that may change arithmetic: fast-math, instructions, optimisations."""
    import jax

    said = {name: jax.config.values.get(name) for name in _COMPILING}
    options = [f"{name.upper()}={value}" for name, value in said.items() if value not in _AS_THEY_COME]
    return " ".join([*os.environ.get("XLA_FLAGS", "").split(), *options])


@functools.cache
def _git() -> dict[str, Any] | None:
    def say(*command: str) -> str:
        return subprocess.run(["git", "-C", str(_ROOT), *command], capture_output=True, text=True, check=True).stdout

    try:
        if Path(say("rev-parse", "--show-toplevel").strip()).resolve() != _ROOT:
            return None  # installed inside somebody else's checkout
        return {"commit": say("rev-parse", "HEAD").strip(), "dirty": bool(say("status", "--porcelain").strip())}
    except (OSError, subprocess.CalledProcessError):
        return None
