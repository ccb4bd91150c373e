"""Error, overlap and norm against the ridge for several losses, and the truth of the logistic model's confidence."""

from typing import Any

import numpy as np

from ...sweeps import prediction
from .. import _style


def draw(result, config):
    figure, axes = _style.panels(columns=2, rows=2, height=2.3)
    panels: dict[str, Any] = dict(zip(("error", "overlap", "norm", "calibration"), axes.ravel(), strict=True))
    names = np.asarray(result["simulation"]["loss"]).tolist()
    for field, name in {
        "error": "error",
        "overlap": "overlap  $m = \\theta \\cdot w/d$",
        "norm": "norm  $q = |w|^2/d$",
    }.items():
        for index, loss in enumerate(names):
            _style.compare(panels[field], config.ridges, result, field, index, loss, {"loss": loss})
        panels[field].set(ylabel=name)
    best = prediction(result, "error", "prediction_best").sel(loss=names[0])
    _style.rival(panels["error"], config.ridges, best, label="least of any method", color="0.4")
    panels["norm"].set_yscale("log")
    for index, level in enumerate(config.confidences):
        look = len(names) + index
        _style.compare(panels["calibration"], config.ridges, result, "calibration", look, f"{level:g}", {"confidence": level})
        panels["calibration"].axhline(level, color=_style.colour(look), linewidth=0.6, linestyle=":", zorder=1)
    panels["calibration"].set(ylabel="true $P(+)$ at that confidence")
    for panel in axes.ravel():
        panel.set(xscale="log", xlabel="ridge  $\\lambda$")
        _style.log_ticks(panel.xaxis, config.ridges)
    _style.legend(panels["error"], result["simulation"].sizes["seed"], above=True, point="optimum", ncols=2)
    panels["calibration"].legend(
        *panels["calibration"].get_legend_handles_labels(),
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=3,
        title="confidence $\\sigma(z)$",
    )
    return figure
