"""Shares of training samples below a margin; largest margin, norm, error and support vectors against samples a dimension."""

import numpy as np

from .. import _style

PANELS = (
    ("margin", "largest margin  $\\kappa$"),
    ("norm", "norm  $q = |w|^2/d$"),
    ("error", "error on fresh samples"),
    ("support", "share of support vectors"),
)


def draw(result, config):
    ratios = np.array(config.ratios)
    figure, panels = _style.panels(columns=3, rows=2, height=2.3)
    margins, *others, spare = panels.ravel()
    for index, loss in enumerate(config.losses):
        _style.compare(margins, np.array(config.thresholds), result, "below", index, loss, {"loss": loss})
    margins.set(xlabel="threshold", ylabel="share of training margins below", title=f"ratio {config.ratio:g}")
    for axes, (field, name) in zip(others, PANELS, strict=True):
        _style.compare(axes, ratios, result, field, 2)
        axes.set(xlabel="samples a dimension  $n/d$", ylabel=name)
    others[1].set(yscale="log")
    spare.set_axis_off()
    margins.legend(loc="lower right")
    _style.legend(others[0], result["simulation"].sizes["seed"], point="fits")
    return figure
