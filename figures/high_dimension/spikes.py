"""Top eigenvalues and overlaps of spiked matrices against strengths, and the overlap of message passing against iterations."""

import numpy as np

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    figure, axes = _style.panels(columns=3, rows=2, height=2.2)
    (values, overlaps, passing), (wigner_values, wigner_overlaps, empty) = axes
    strong, weak = (np.array(strengths) for strengths in (config.strengths, config.weak_strengths))
    for panel, field in ((values, "eigenvalue"), (overlaps, "overlap")):
        _style.compare(panel, strong, result, field, 0, "covariance" if panel is values else None)
        known = _style.along(result, f"weak_{field}", weak, side="prediction_weak")
        _style.rival(panel, *known, 0, "weak spikes" if panel is values else None)
        _style.measured(panel, weak, statistics(result, f"weak_{field}"), 0)
        panel.set_xlabel("strength $\\ell$ of a covariance spike")
    strengths = np.array(config.wigner_strengths)
    for panel, field in ((wigner_values, "wigner_eigenvalue"), (wigner_overlaps, "wigner_overlap")):
        _style.compare(panel, strengths, result, field, 1, "symmetric matrix" if panel is wigner_values else None)
        panel.set_xlabel("strength $\\lambda$ in a symmetric matrix")
    for panel in (values, wigner_values):
        panel.set_ylabel("top eigenvalue")
    for panel in (overlaps, wigner_overlaps):
        panel.set_ylabel("squared overlap $\\cos^2$")
    iterations = result["simulation"]["iteration"].values
    _style.compare(passing, iterations, result, "passing_overlap", 2, "message passing")
    passing.set(xlabel=f"iteration, $\\lambda$ = {config.passing_strength:g}", ylabel="overlap $\\langle f, v \\rangle/d$")
    empty.set_axis_off()
    handles = [panel.get_legend_handles_labels() for panel in (wigner_values, passing)]
    for lines, labels in handles:
        for line, label in zip(lines, labels, strict=True):
            values.plot([], [], color=line.get_color(), label=label)
    _style.legend(values, result["simulation"].sizes["seed"], above=True, point="simulation", ncols=4)
    return figure
