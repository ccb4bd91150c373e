"""Time on the plateau and mean cosine of the features with each remedy, and updates saved by momentum: theory over networks."""

import numpy as np

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    figure, panels = _style.panels(columns=3, height=2.6)
    groups = (("time", "remedy"), ("momentum_factor", "momentum"), ("cosine", "remedy"))
    for panel, (field, axis) in zip(panels, groups, strict=True):
        names = simulated[axis].values.tolist()
        place = np.arange(len(names))
        _style.compare(panel, place, result, field, 0, "from rank one", drawstyle="steps-mid")
        _style.measured(panel, place, statistics(result, f"random_{field}"), 1, "from random weights")
        texts = [name.replace(" ", "\n") for name in names] if axis == "remedy" else _style.texts(names)
        panel.set(xticks=place, xticklabels=texts, xlim=(-0.5, len(names) - 0.5))
    left, middle, right = panels
    left.set(yscale="log", ylabel="time at half the loss")
    middle.set(ylim=(0, 1), xlabel="momentum $\\beta$", ylabel="updates, over those without")
    right.set(ylim=(-0.05, 1.05), ylabel="mean cosine of hidden features")
    _style.legend(left, simulated.sizes["seed"], "theory", above=True, point="networks", ncols=6)
    return figure
