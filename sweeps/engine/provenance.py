"""Where a result comes from: what is written beside its numbers."""

from __future__ import annotations

import functools
import importlib.metadata
import subprocess
from pathlib import Path
from typing import Any

from ..contract import config as config_
from ..contract.request import Plan
from . import memory

_ROOT = Path(__file__).resolve().parents[2]


def new(plan: Plan, config: Any, seconds: float) -> dict[str, Any]:
    """Everything needed to say where a result came from; `seeds` stand in the file as a coordinate."""
    import jax

    device = jax.local_devices()[0]
    packages = ("closedform", "jax", "jaxlib", "numpy", "diffrax", "optimistix", "xarray")
    return {
        "experiment": plan.experiment.name,
        "config": config_.as_dict(config),
        "root_seed": plan.root_seed,
        "digest": plan.digest,
        "git": _git(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "device": f"{device.platform}: {device.device_kind}",
        "seconds": seconds,
        "memory": memory.peak_bytes(),
    }


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
