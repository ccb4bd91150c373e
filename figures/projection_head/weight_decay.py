"""Weights that survive weight decay, from a small start, a large one and random weights: roots of a cubic over networks."""

import numpy as np

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    decays, scales = (simulated[axis].values for axis in ("weight_decay", "scale"))
    shown = scales[:5].tolist()
    figure, panels = _style.panels(columns=len(shown) + 1, height=2.5, sharey=True)
    for panel, scale in zip(panels, shown, strict=False):
        for feature, text in enumerate(_style.texts(config.signals)):
            at = {"scale": scale, "feature": feature}
            label = f"$\\phi$ = {text}" if panel is panels[0] else None
            _style.compare(panel, decays, result, "strength", feature, label, at)
        panel.set_title(f"from $b(0)$ = {scale**2:.2g}")
    for feature in range(len(config.signals)):
        mean, error = (values.sel({"feature": feature}).values for values in statistics(result, "random"))
        _style.measured(panels[-1], decays, (mean, error), feature)
    panels[-1].set_title("from random weights")
    for panel in panels:
        panel.set_xlabel("weight decay $\\lambda$")
        if np.ptp(decays) > 0:
            panel.set_xlim(-0.02 * np.max(decays), 1.05 * np.max(decays))
    panels[0].set_ylabel("weight behind the head $b$")
    _style.legend(panels[0], simulated.sizes["seed"], "cubic", above=True, point="networks", ncols=6)
    return figure
