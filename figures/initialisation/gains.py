"""What LSUV multiplies the weights of every layer by, their variance after it, and the variance of the layer's output."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

ACTIVATION = "activation"
NAMES = {"leaky_relu": "leaky", "gelu_erf": "gelu"}
DASH = {"linestyle": "", "marker": "_", "markersize": 7, "markeredgewidth": 1.2}


def draw(result, config):
    cells = _style.cells(result, ACTIVATION)
    names = [cell.get(ACTIVATION, config.activation) for cell in cells]
    layers, places = result["simulation"]["layer"].values, np.arange(len(cells))
    sizes = (config.dim, *config.widths)
    figure, (scale, weights, variance) = _style.panels(columns=3, height=2.5)
    for index, layer in enumerate(layers):
        shifted = places + 0.13 * (index - (len(layers) - 1) / 2)
        label = f"layer {layer}: {sizes[index]} to {sizes[index + 1]}"

        def of(values, layer=layer):
            """One value an activation."""
            return np.array([float(values.sel(cell).sel(layer=layer)) for cell in cells])

        for axes, field in ((scale, "scale"), (weights, "weight_variance"), (variance, "variance")):
            _style.theory(axes, shifted, of(prediction(result, field)), index, label if axes is scale else None, **DASH)
            _style.simulation(axes, shifted, [of(values) for values in statistics(result, field)], index)
        before = [of(values) for values in statistics(result, "variance_before")]
        _style.measured(variance, shifted, before, index, filled=True)
    for axes in (scale, weights, variance):
        axes.set_xticks(places, [NAMES.get(name, name) for name in names], rotation=25)
        axes.set_xlim(-0.6, len(cells) - 0.4)
    scale.set(ylabel="scale of orthonormal weights $s$", ylim=(0, None))
    weights.set(ylabel="fan-in times variance of a weight", ylim=(0, None))
    variance.set(ylabel="variance after (small: before)", ylim=(0, None))
    seeds = result["simulation"].sizes["seed"]
    _style.legend(scale, seeds, None, above=True, point="LSUV", ncols=5)
    return figure
