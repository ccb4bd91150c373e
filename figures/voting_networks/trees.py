"""Accuracy against the number of votes: trees of majorities below one majority of the same votes."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    competences, fan_in = (np.atleast_1d(simulated[f"process.{name}"]) for name in ("competence", "fan_in"))
    sizes = fan_in[:, None] ** np.array(config.num_layers)
    order = np.argsort(sizes, axis=None)
    figure, panels = _style.panels(columns=len(competences), squeeze=False)
    for panel, p, text in zip(panels[0], competences, _style.texts(competences), strict=True):

        def flat(values, p=p):
            return values.sel({"process.competence": p}).transpose("process.fan_in", ...).values.ravel()[order]

        _style.theory(panel, sizes.ravel()[order], flat(prediction(result, "flat")), label="one majority")
        _style.simulation(panel, sizes.ravel()[order], tuple(map(flat, statistics(result, "flat"))))
        for index, k in enumerate(config.num_layers, start=1):
            here = {"process.competence": p, "num_layers": k}
            _style.compare(panel, fan_in**k, result, "tree", index, f"tree of {k} layers", here)
        panel.set(xscale="log", xlabel="votes $n$", title=f"competence p = {text}")
        panel.tick_params(axis="x", which="minor", labelbottom=False)
    panels[0, 0].set(ylabel="share decided right")
    _style.legend(panels[0, 0], simulated.sizes["seed"], "exact", above=True, point="votes drawn", ncols=5)
    return figure
