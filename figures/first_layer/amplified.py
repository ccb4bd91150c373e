"""Energy of every component where one was multiplied by a factor: exact mean, the paper's formula, and networks."""

import numpy as np

from ...sweeps import prediction
from .. import _style

NAMES = {"images": "patches of real images", "shuffled": "the same patches, shuffled"}


def draw(result, config):
    simulated = result["simulation"]
    cells, factors = _style.cells(result, "arrangement"), _style.cells(result, "factor")
    figure, panels = _style.panels(columns=len(cells), height=2.8, sharey=True, squeeze=False)
    place = 1 + np.arange(simulated.sizes["component"])
    last = simulated["step"].values.tolist()[-1]
    texts = _style.texts([one.get("factor", config.factor) for one in factors])
    for panel, cell in zip(panels[0], cells, strict=True):
        for index, (factor, text) in enumerate(zip(factors, texts, strict=True)):
            at = {**cell, **factor, "step": last}
            _style.compare(panel, place, result, "energies", index, f"$\\alpha$ = {text}", at)
            _style.rival(panel, place, prediction(result, "energies", "prediction_paper").sel(at), index)
        panel.axvline(config.component, color="0.9", linewidth=5, zorder=0)
        title = NAMES[cell.get("arrangement", config.arrangement)]
        panel.set(yscale="log", xlabel="component $i$, the strongest first", title=title)
    panels[0, 0].set_ylabel(f"energy $e_i^2$ after {last} updates")
    _style.rival(panels[0, 0], [], [], color="0.35", label="paper's formula")
    _style.legend(panels[0, 0], simulated.sizes["seed"], "exact mean", above=True, point="networks", ncols=1 + len(cells))
    return figure
