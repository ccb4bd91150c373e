"""Squared weights of the features before and behind the head, for a wide and a narrow head: theory over trained networks."""

import numpy as np

from .. import _style

TITLES = {"balanced": "balanced start", "random": "small random weights"}


def draw(result, config):
    simulated = result["simulation"]
    cells, starts = _style.cells(result, "model.num_outputs"), simulated["start"].values.tolist()
    figure, panels = _style.panels(len(cells), len(starts) + 1, height=2.0, squeeze=False)
    place = 1 + np.arange(simulated.sizes["feature"])
    ticks = _style.texts(config.signals)
    for row, start in zip(panels, starts, strict=False):
        for panel, cell in zip(row, cells, strict=True):
            for index, (field, label) in enumerate((("before", "before the head"), ("behind", "behind the head"))):
                at = {**cell, "start": start}
                _style.compare(panel, place, result, field, index, label, at, drawstyle="steps-mid")
            outputs = cell.get("model.num_outputs", config.model.num_outputs)
            panel.set(title=f"{TITLES[start]}, {outputs} outputs", xticks=place, xticklabels=ticks)
            panel.set_xlabel("feature, by its signal $\\phi$")
        row[0].set_ylabel("squared weight")
    x = np.arange(len(starts))
    for panel, cell in zip(panels[-1], cells, strict=True):
        for index, field in enumerate(("mixing_before", "mixing_behind")):
            _style.compare(panel, x, result, field, index, None, cell)
        panel.set(xticks=x, xticklabels=[TITLES[start] for start in starts], xlim=(-0.5, len(starts) - 0.5))
        high = panel.get_ylim()[1]
        panel.set_ylim(-0.1 * high, 1.2 * high)
    panels[-1, 0].set_ylabel("mixing of features")
    _style.legend(panels[0, 0], simulated.sizes["seed"], "optimum", above=True, point="networks", ncols=5)
    return figure
