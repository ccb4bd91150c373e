"""Error of equal and of unequal clusters, with the least error of any method; overlap, norm and intercept of both."""

import numpy as np

from ...sweeps import prediction
from .. import _style

FIELDS = (("overlap", "overlap  $m = v \\cdot w/d$"), ("norm", "norm  $q = |w|^2/d$"), ("intercept", "intercept  $b$"))


def draw(result, config):
    ridges, cells = np.array(config.ridges), _style.cells(result, "positive_share")[:2]
    figure, panels = _style.panels(columns=3, rows=2, height=2.4)
    errors, others, (*_, spare) = panels[0][:2], (panels[0][2], *panels[1][:2]), panels[1]
    for number, (axes, cell) in enumerate(zip(errors, cells, strict=False)):
        share = cell.get("positive_share", config.positive_share)
        for index, loss in enumerate(config.losses):
            look = number * len(config.losses) + index
            _style.compare(axes, ridges, result, "error", look, f"{loss}, p = {share:g}", {"loss": loss, **cell})
            for panel, (field, _) in zip(others, FIELDS, strict=True):
                _style.compare(panel, ridges, result, field, look, None, {"loss": loss, **cell})
        best = prediction(result, "error", "prediction_best").sel(cell)
        if np.isfinite(best).all():
            _style.rival(axes, ridges, best.sel(loss=config.losses[0]), label="least of any method", color="0.4")
        axes.set(title=f"positive labels p = {share:g}")
    for axes, name in zip((*errors, *others), ("error on fresh samples",) * 2 + tuple(name for _, name in FIELDS), strict=True):
        axes.set(xscale="log", xlabel="ridge  $\\lambda$", ylabel=name)
        _style.log_ticks(axes.xaxis, ridges)
    others[1].set(yscale="log")
    for axes in errors[: len(cells)]:
        axes.legend()
    for axes in (*errors[len(cells) :], spare):
        axes.set_axis_off()
    _style.legend(others[0], result["simulation"].sizes["seed"], point="fits")
    return figure
