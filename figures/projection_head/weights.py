"""Squared weights of the features before and behind the head, for a wide and a narrow head: theory over trained networks."""

import numpy as np

from .. import _style

TITLES = {"balanced": "balanced start", "random": "small random weights"}


def draw(result, config):
    simulated = result["simulation"]
    cells, starts = _style.cells(result, "model.num_outputs"), simulated["start"].values.tolist()
    figure, panels = _style.panels(len(cells), len(starts), height=2.2, sharex=True, sharey=True, squeeze=False)
    place = 1 + np.arange(simulated.sizes["feature"])
    ticks = _style.texts(config.signals)
    for row, start in zip(panels, starts, strict=True):
        for panel, cell in zip(row, cells, strict=True):
            for index, (field, label) in enumerate((("before", "before the head"), ("behind", "behind the head"))):
                at = {**cell, "start": start}
                _style.compare(panel, place, result, field, index, label, at, drawstyle="steps-mid")
            outputs = cell.get("model.num_outputs", config.model.num_outputs)
            panel.set(title=f"{TITLES[start]}, {outputs} outputs", xticks=place, xticklabels=ticks)
    for panel in panels[-1]:
        panel.set_xlabel("feature, by its signal $\\phi$")
    for panel in panels[:, 0]:
        panel.set_ylabel("squared weight")
    _style.legend(panels[0, 0], simulated.sizes["seed"], "optimum", above=True, point="networks", ncols=5)
    return figure
