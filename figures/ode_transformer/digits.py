"""Accuracy of every scheme, its paired difference from sequential layers, and accuracy against what the scheme costs."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

SCHEME, BLOCKS = "model.stack.scheme", "model.stack.num_blocks"


def draw(result, config):
    simulation, stack = result["simulation"], config.model.stack
    schemes = [cell.get(SCHEME, stack.scheme) for cell in _style.cells(result, SCHEME)]
    blocks = _style.cells(result, BLOCKS)
    figure, (left, middle, right) = _style.panels(columns=3)
    places = np.arange(len(schemes))
    for index, cell in enumerate(blocks):

        def of(values, cell=cell):
            """One value a scheme, also where no other was tried."""
            values = values.sel(cell)
            return values if SCHEME in values.dims else values.expand_dims({SCHEME: schemes})

        count = cell.get(BLOCKS, stack.num_blocks)
        label = "one block for all layers" if count == 1 else f"{count} blocks"
        shifted = places + 0.2 * (index - (len(blocks) - 1) / 2)
        accuracy, untrained = (tuple(map(of, statistics(result, field))) for field in ("accuracy", "untrained"))
        _style.simulation(left, shifted, accuracy, index)
        left.plot([], [], color=_style.COLOURS[index], label=label)
        _style.simulation(left, shifted, untrained, index)
        _style.theory(left, shifted, of(prediction(result, "untrained")), index)
        values = of(simulation["accuracy"].where(~simulation["diverged"]))
        if "sequential" in schemes:
            gain = 100 * (values - values.sel({SCHEME: "sequential"}))
            error = gain.std("seed", ddof=1) / np.sqrt(gain.count("seed"))
            _style.simulation(middle, shifted, (gain.mean("seed"), error), index)
        cost = of(statistics(result, "num_sublayers")[0])
        _style.simulation(right, cost, accuracy, index)
        for name in schemes if index == len(blocks) - 1 else ():
            at = {SCHEME: name}
            shift = (-4, -12) if name == "sequential" else (4, 5)
            place = float(cost.sel(at)), float(accuracy[0].sel(at))
            right.annotate(name, place, shift, textcoords="offset points", fontsize=6)
    for axes in (left, middle):
        axes.set_xticks(places, schemes, rotation=20)
        axes.margins(x=0.1)
    middle.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    left.set(ylabel="test accuracy", ylim=(0, 1))
    middle.set(ylabel="points above sequential")
    right.set(xscale="log", xlabel="attention and MLP evaluations", ylabel="test accuracy")
    _style.log_ticks(right.xaxis, (6, 12, 24, 48))
    right.margins(x=0.25, y=0.2)
    _style.legend(left, simulation.sizes["seed"], "before training: chance", point="trained with AdamW", loc="center")
    return figure
