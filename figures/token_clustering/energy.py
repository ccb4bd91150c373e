"""Energy of the tokens and its rate against time for both flows: exact rates, and their integrals, through simulated points."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    seeds = result["simulation"].sizes["seed"]
    figure, panels = _style.panels(columns=2, rows=2, sharex=True)
    for row, (field, label) in zip(panels, (("rise", "$(E(t) - E(0))/e^\\beta$"), ("rate", "$(dE/dt)/e^\\beta$")), strict=True):
        predicted, (mean, error) = prediction(result, field), statistics(result, field)
        rival = prediction(result, field, "prediction_ascent")
        times = config.time * np.arange(1, predicted.sizes["record"] + 1) / predicted.sizes["record"]
        for flow, axes in enumerate(row):
            for index, beta in enumerate(config.betas):
                at = {"flow": flow, "beta": index}
                _style.theory(axes, times, predicted.isel(at), index, f"$\\beta$ = {beta:g}")
                if flow == 0:
                    _style.theory(axes, times, rival.isel(at), index, linestyle=":")
                _style.simulation(axes, times, (mean.isel(at), error.isel(at)), index)
            axes.set(ylabel=label, yscale="log")
            if field == "rate":
                axes.set_xlabel("time" if flow == 0 else "time $\\times e^\\beta$")
    panels[0, 0].plot([], [], color="0.35", linestyle=":", label="as if gradient ascent")
    panels[0, 0].set_title("softmax (SA)")
    panels[0, 1].set_title("unnormalised (USA)")
    _style.legend(panels[0, 0], seeds, "exact", above=True, point="tokens", ncols=6)
    return figure
