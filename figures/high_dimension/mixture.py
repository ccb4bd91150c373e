"""Error, overlap, norm and intercept against the ridge for equal and unequal clusters, and the least error of any method."""

import numpy as np

from ...sweeps import prediction
from .. import _style

FIELDS = (
    ("error", "error on fresh samples"),
    ("overlap", "overlap  $m = v \\cdot w/d$"),
    ("norm", "norm  $q = |w|^2/d$"),
    ("intercept", "intercept  $b$"),
)


def draw(result, config):
    ridges, cells = np.array(config.ridges), _style.cells(result, "positive_share")
    figure, panels = _style.panels(columns=4, rows=len(cells), height=2.3, squeeze=False)
    for row, cell in zip(panels, cells, strict=True):
        share = cell.get("positive_share", config.positive_share)
        for axes, (field, name) in zip(row, FIELDS, strict=True):
            for index, loss in enumerate(config.losses):
                _style.compare(axes, ridges, result, field, index, loss, {"loss": loss, **cell})
            axes.set(xscale="log", xlabel="ridge  $\\lambda$", ylabel=name)
            _style.log_ticks(axes.xaxis, ridges)
        row[2].set(yscale="log")
        row[0].set(title=f"positive labels {share:g}")
        best = prediction(result, "error", "prediction_best").sel(cell)
        if np.isfinite(best).all():
            _style.rival(row[0], ridges, best.sel(loss=config.losses[0]), 5, "least of any method")
    _style.legend(panels[0, 0], result["simulation"].sizes["seed"], above=True, point="fits", ncols=6)
    return figure
