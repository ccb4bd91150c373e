"""Singular values of the trained filter against the scale of its start, and how descent breaks the conservation law."""

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    scales = simulated["scale"].values
    figure, (left, right) = _style.panels(columns=2, height=2.8)
    task = len(config.strengths)
    for direction in range(min(task + 1, simulated.sizes["direction"])):
        name = f"task, $s$ = {sorted(config.strengths, reverse=True)[direction]:g}" if direction < task else "all others"
        _style.compare(left, scales, result, "gains", direction, name, {"direction": direction})
    left.set(xscale="log", yscale="log", xlabel="scale of the start $\\epsilon$", ylabel="singular value of the filter")
    _style.compare(right, scales, result, "drift_ratio", 4, "drift at $\\eta$ over drift at $\\eta/4$")
    _style.measured(right, scales, statistics(result, "drift"), 5, "drift $|D(t) - D(0)|$ at $\\eta$", filled=True)
    right.set(xscale="log", yscale="log", xlabel="scale of the start $\\epsilon$", ylabel="drift, and ratio of drifts")
    right.legend(loc="center left")
    _style.legend(left, simulated.sizes["seed"], "gradient flow", above=True, point="descent", ncols=6)
    return figure
