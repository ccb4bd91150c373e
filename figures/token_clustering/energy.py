"""Energy of the tokens and its rate against time for both flows: exact rates, and their integrals, through simulated points."""

from ...sweeps import prediction
from .. import _style

FIELDS = {"rise": "$(E(t) - E(0))/e^\\beta$", "rate": "$(dE/dt)/e^\\beta$"}


def draw(result, config):
    simulated = result["simulation"]
    times = config.time * simulated["record"].values
    figure, panels = _style.panels(columns=2, rows=2, sharex=True)
    for row, (field, label) in zip(panels, FIELDS.items(), strict=True):
        rival = prediction(result, field, "prediction_ascent")
        for axes, flow in zip(row, ("SA", "USA"), strict=True):
            for index, beta in enumerate(config.betas):
                at = {"flow": flow, "beta": beta}
                _style.compare(axes, times, result, field, index, f"$\\beta$ = {_style.texts(config.betas)[index]}", at)
                if flow == "SA":
                    _style.rival(axes, times, rival.sel(at), index)
            axes.set(ylabel=label, yscale="log")
    _style.rival(panels[0, 0], [], [], label="as if gradient ascent", color="0.35")
    panels[0, 0].set_title("softmax (SA)")
    panels[0, 1].set_title("unnormalised (USA)")
    panels[1, 0].set_xlabel("time")
    panels[1, 1].set_xlabel("time $\\times e^\\beta$")
    _style.legend(panels[0, 0], simulated.sizes["seed"], "exact", above=True, point="tokens", ncols=6)
    return figure
