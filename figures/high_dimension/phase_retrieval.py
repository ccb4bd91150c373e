"""Overlap of the spectral estimate with the signal, and its two largest eigenvalues, against the number of samples."""

import numpy as np

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    figure, (overlaps, values) = _style.panels(columns=2)
    ratios, near = np.array(config.ratios), np.array(config.near_ratios)
    for panel, field, index, label in (
        (overlaps, "overlap", 0, "top eigenvector"),
        (values, "eigenvalue", 1, "top eigenvalue"),
    ):
        _style.compare(panel, ratios, result, field, index, label)
        known = _style.along(result, f"near_{field}", near, side="prediction_limit")
        _style.rival(panel, *known, index)
        _style.measured(panel, near, statistics(result, f"near_{field}"), index)
    for field, x in (("edge", ratios), ("near_edge", near)):
        known = _style.along(result, field, x, side="prediction_limit")
        _style.rival(values, *known, 2, "end of the others" if field == "edge" else None)
        _style.measured(values, x, statistics(result, field), 2)
    overlaps.set_ylabel("squared overlap with the signal")
    values.set_ylabel("eigenvalue of the sum over $d$")
    for panel in (overlaps, values):
        panel.set(xscale="log", xlabel="samples a dimension $\\alpha$")
        _style.log_ticks(panel.xaxis, [0.3, 0.5, 1, 2, 4])
    values.set_ylim(-1.5, 1.3)
    values.legend(loc="lower left")
    _style.legend(overlaps, result["simulation"].sizes["seed"], above=True, point="simulation", ncols=4)
    return figure
