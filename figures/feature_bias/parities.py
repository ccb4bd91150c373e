"""Shares of a bit and of a parity against the degree of the parity, for networks of several depths; the control at degree 1."""

import numpy as np

from .. import _style
from . import _panels

DEPTH = "hidden_layers"


def draw(result, config):
    simulated = result["simulation"]
    cells = _style.cells(result, DEPTH)
    figure, panels = _style.panels(columns=len(cells) + 1, height=2.5)
    degrees, depths = simulated["degree"].values.tolist(), [cell.get(DEPTH, config.hidden_layers) for cell in cells]
    places = np.arange(len(degrees))
    for number, (panel, cell) in enumerate(zip(panels[:-1], cells, strict=True)):
        for index, output in enumerate(simulated["output"].values.tolist()):
            at, label = {**cell, "output": output}, ("one bit", "parity")[index]
            _panels.unjudged(panel, places + 0.1 * (index - 0.5), result, "shares", index, label, at)
        _panels.named(panel, degrees, xlabel="degree of the parity", ylim=(0, None), title=f"hidden layers: {depths[number]}")
        if cell:
            at = {name: [value] for name, value in cell.items()}
            _panels.judged(panels[-1], [number], result, "control", 2 + number, at=at)
        else:
            _panels.alone(panels[-1], number, result, "control", 2)
    panels[0].set_ylabel("share of the last hidden layer")
    panels[0].legend()
    panels[-1].axhline(0, color="0.85", linewidth=0.6, zorder=0)
    _panels.named(panels[-1], depths, xlabel="hidden layers", ylabel="difference of the shares at degree 1")
    _style.legend(panels[-1], simulated.sizes["seed"], "symmetry", above=True, point="networks", ncols=4)
    return figure
