"""A staircase and its last product alone: correlations and weights on the way, and steps to the end against the dimension."""

import numpy as np

from ...sweeps import prediction
from .. import _style

NAMES = {"staircase": "staircase", "product": "last product alone"}


def draw(result, config):
    simulation = result["simulation"]
    dims, records = np.atleast_1d(simulation["dim"].values), simulation["record"].values
    largest = {"dim": dims[-1]} if "dim" in simulation.dims else {}
    figure, panels = _style.panels(columns=3, rows=2, height=2.4)
    cells = _style.cells(result, "target")
    for column, cell in enumerate(cells[:2]):
        name = cell.get("target", config.target)
        at = {**largest, **cell}
        learned, weights = panels[:, column]
        for index, product in enumerate(simulation["monomial"].values):
            label = str(product)
            _style.compare(learned, records, result, "correlation", index, label, {**at, "monomial": product})
        for index, coordinate in enumerate(simulation["coordinate"].values):
            label = f"$m_{int(coordinate)}$"
            _style.compare(weights, records, result, "weights", index, label, {**at, "coordinate": coordinate})
        learned.set(title=NAMES[name], ylabel="correlation with a product", ylim=(-0.1, 1.0))
        weights.set(title=NAMES[name], ylabel="weight on a coordinate", ylim=(-0.1, 1.0))
        for axes in (learned, weights):
            axes.set(xlabel="learning rate times steps")
            axes.legend(ncols=3, loc="upper center")
    for axes in panels[:, len(cells[:2]) : 2].ravel():
        axes.set_axis_off()
    steps = panels[0, 2]
    for index, cell in enumerate(cells):
        name = cell.get("target", config.target)
        _style.compare(steps, dims, result, "steps", index + 3, NAMES[name], cell)
        first = float(prediction(result, "steps").sel(cell).values.flat[0])
        power = 0 if name == "staircase" else 1
        _style.rival(steps, dims, first * (dims / dims[0]) ** power, index + 3)
    _style.rival(steps, [], [], color="0.35", label="$d$ and $d^2$ steps")
    steps.set(xscale="log", yscale="log", xlabel="dimension $d$", ylabel="steps to the end, over d")
    _style.log_ticks(steps.xaxis, dims)
    steps.legend()
    panels[1, 2].set_axis_off()
    _style.legend(panels[1, 2], simulation.sizes["seed"], "mean motion", loc="upper left")
    return figure
