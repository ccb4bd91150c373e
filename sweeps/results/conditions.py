"""Under which conditions the runs of one result were computed, and whether they are the same for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# of XLA, which change no number
_HARMLESS = ("--xla_force_host_platform_device_count", "--xla_dump", "--xla_hlo_dump", "--xla_hlo_graph", "--xla_hlo_profile")


def mixed(provenances: Iterable[Mapping[str, Any]]) -> str:
    """One line that names what differs between the runs of one result and may change their last bits; "" if nothing does.

    >>> mixed([{"device": "cpu", "cores": 1}, {"device": "cpu", "cores": 2}])
    'its runs were computed under different conditions, and may differ in their last bits: cores (1; 2)'
    >>> mixed([{"flags": "--xla_dump_to=/tmp"}, {"flags": ""}])
    ''
    """
    found: dict[str, dict[str, None]] = {}
    for said in provenances:
        for name, value in _conditions(said).items():
            found.setdefault(name, {})[value] = None
    parts = [f"{name} ({'; '.join(sorted(values))})" for name, values in found.items() if len(values) > 1]
    return (
        f"its runs were computed under different conditions, and may differ in their last bits: {', '.join(parts)}"
        if parts
        else ""
    )


def _conditions(said: Mapping[str, Any]) -> dict[str, str]:
    """What may change the last bits of a number, in words; without what a file does not say."""
    conditions = {name: str(said[name]) for name in ("device", "processor", "cores") if said.get(name)}
    versions = said.get("versions", {})
    conditions |= {name: versions[name] for name in ("jax", "jaxlib") if name in versions}
    if "flags" in said:
        words = [word for word in said["flags"].split() if not word.startswith(_HARMLESS)]
        conditions["flags of XLA"] = " ".join(sorted(words)) or "none"
    return conditions
