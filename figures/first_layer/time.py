"""Energy of every component after several numbers of steps: exact mean, the paper's formula, and networks."""

import numpy as np

from ...sweeps import prediction
from .. import _style

NAMES = {"images": "patches of real images", "shuffled": "the same patches, shuffled"}


def draw(result, config):
    simulated = result["simulation"]
    cells = _style.cells(result, "arrangement")
    figure, panels = _style.panels(columns=len(cells), height=2.8, sharey=True, squeeze=False)
    place = 1 + np.arange(simulated.sizes["component"])
    for panel, cell in zip(panels[0], cells, strict=True):
        for index, step in enumerate(simulated["step"].values.tolist()):
            at = {**cell, "step": step}
            _style.compare(panel, place, result, "energies", index, f"$t$ = {step}", at)
            _style.rival(panel, place, prediction(result, "energies", "prediction_paper").sel(at), index)
        title = NAMES[cell.get("arrangement", config.arrangement)]
        panel.set(yscale="log", xlabel="component $i$, the strongest first", title=title)
    panels[0, 0].set_ylabel("energy $e_i^2$ in the filters")
    _style.rival(panels[0, 0], [], [], color="0.35", label="paper's formula")
    _style.legend(panels[0, 0], simulated.sizes["seed"], "exact mean", above=True, point="networks", ncols=1 + len(cells))
    return figure
