"""Distances of learned features from the singular and the invariant subspace against time: theory over descent."""

import numpy as np

from .. import _style

NAMES = {"reversible": "reversible chain", "directed": "chain with a direction"}


def draw(result, config):
    simulated = result["simulation"]
    chains = simulated["chain"].values.tolist()
    time = config.learning_rate * simulated["step"].values
    figure, panels = _style.panels(columns=len(chains), height=2.8, sharey=True, squeeze=False)
    curves = {
        "monte_carlo": "Monte Carlo, to singular vectors",
        "temporal": "temporal differences, to the invariant subspace",
        "apart": "temporal differences, to singular vectors",
    }
    for panel, chain in zip(panels[0], chains, strict=True):
        for index, (field, name) in enumerate(curves.items()):
            _style.compare(panel, time, result, field, index, name, {"chain": chain})
        panel.set(yscale="log", ylim=(1e-6, 2 * config.model.num_features), xlabel="time, step size times updates")
        panel.set_title(NAMES.get(chain, chain))
        panel.set_xlim(0, np.max(time) * 1.02)
    panels[0, 0].set_ylabel("sum of $\\sin^2$ of angles")
    _style.legend(panels[0, 0], simulated.sizes["seed"], above=True, point="descent", ncols=2)
    return figure
