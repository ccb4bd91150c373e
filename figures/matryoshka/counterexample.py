"""The price of nesting two tasks, and the direction of the shared coordinate, against the angle between the tasks."""

import numpy as np

from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    figure, (price, direction) = _style.panels(columns=2, height=2.5)
    for axes, field in ((price, "price"), (direction, "direction")):
        _style.compare(axes, simulated["angle"].values, result, field, shade=_style.ALONE)
        axes.set(xlabel="angle $\\varphi$ between the tasks", xlim=(-0.05, np.pi / 2 + 0.05))
    price.set_ylabel("price of nesting, in units of the loss")
    direction.set_ylabel("angle $\\theta$ of the first row")
    _style.legend(price, simulated.sizes["seed"], point="networks")
    return figure
