"""Shares of two features after three orders of training, of a linear network and of ReLU networks, and what is not learned."""

import numpy as np

from .. import _style
from . import _panels

SCALE = "model.init_scale"


def draw(result, config):
    simulated = result["simulation"]
    cells = _style.cells(result, SCALE)
    figure, panels = _style.panels(columns=2 + len(cells), height=2.6)
    linear, *relu, losses = panels
    orders, outputs = simulated["order"].values.tolist(), simulated["output"].values.tolist()
    places, names = np.arange(len(orders)), [order.replace(" ", "\n", 1) for order in orders]
    for number, (panel, cell) in enumerate(zip(relu, cells, strict=True)):
        start = f"start of {cell.get(SCALE, config.model.init_scale):g}"
        for index, output in enumerate(outputs):
            at, where = {**cell, "output": output}, places + 0.14 * (2 * number + index - len(cells) + 0.5)
            _panels.judged(linear, where, result, "linear_shares", index, at=at)
            text = f"{('easy', 'hard')[index]}, {start}"
            _panels.unjudged(losses, where, result, "relu_losses", 2 * number + index, text, at)
        for index, feature in enumerate(simulated["feature"].values.tolist()):
            at, where = {**cell, "feature": feature}, places + 0.1 * (index - 1.5)
            _panels.unjudged(panel, where, result, "relu_shares", index, _panels.FEATURES[feature], at)
        title = f"ReLU network, {start}"
        _panels.named(panel, names, ylim=(0, 1.05), ylabel="share of the hidden variance", title=title)
    _panels.named(linear, names, ylim=(0, 1), ylabel="share of the explained variance", title="linear network")
    losses.set_yscale("log")
    _panels.named(losses, names, ylim=(1e-17, 10), ylabel="squared error left, over 2", title="ReLU networks")
    losses.legend(loc="center")
    relu[-1].legend(ncols=2)
    _style.legend(linear, simulated.sizes["seed"], "theory", above=True, point="networks", ncols=3)
    return figure
