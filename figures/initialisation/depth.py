"""Test accuracy of three starts against depth for three activations, and what theory says of them before training."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

ACTIVATION, DEPTH = "activation", "depth"
NAMES = {"xavier": "Glorot", "he": "He", "lsuv": "LSUV"}
DASH = {"linestyle": "", "marker": "_", "markersize": 8, "markeredgewidth": 1.2}


def draw(result, config):
    activations = _style.cells(result, ACTIVATION)[:3]
    depths = _style.cells(result, DEPTH)
    x = np.array([cell.get(DEPTH, config.depth) for cell in depths])
    inits = result["simulation"]["init"].values
    figure, (above, (chi, separation, scaled)) = _style.panels(columns=3, rows=2)
    for axes in above[len(activations) :]:
        axes.set_axis_off()

    def of(values, at):
        """One value a depth."""
        return np.array([float(values.sel({**at, **cell})) for cell in depths])

    names = [cell.get(ACTIVATION, config.activation) for cell in activations]
    for column, (activation, axes) in enumerate(zip(activations, above, strict=False)):
        for index, init in enumerate(inits):
            at = {**activation, "init": init}
            label = NAMES[init] if column == 0 else None
            _style.theory(axes, x, of(prediction(result, "untrained"), at), index, None, linewidth=0.8)
            _style.simulation(axes, x, [of(values, at) for values in statistics(result, "untrained")], index)
            accuracy = [of(values, at) for values in statistics(result, "accuracy")]
            _style.measured(axes, x * 1.04 ** (index - 1), accuracy, index, label, filled=True)
            place = column + 0.18 * (index - (len(inits) - 1) / 2)
            for panel, field in ((chi, "chi"), (separation, "separation")):
                last = {**at, **depths[-1]}
                _style.theory(panel, [place], np.atleast_1d(prediction(result, field).sel(last)), index, None, **DASH)
                points = [np.atleast_1d(values.sel(last)) for values in statistics(result, field)]
                _style.simulation(panel, [place], points, index)
            scales = x * np.abs(np.log(of(prediction(result, "chi"), at)))
            _style.measured(scaled, np.maximum(scales, 0.01), accuracy, index, None, filled=True)
        axes.set(title=names[column], xscale="log", xlabel="depth $L$", ylim=(0, 1.05))
        _style.log_ticks(axes.xaxis, x)
        axes.margins(x=0.1)
    above[0].set_ylabel("test accuracy (open: untrained)")
    for panel in (chi, separation):
        panel.set_xticks(range(len(names)), names)
        panel.set_xlim(-0.6, len(names) - 0.4)
    chi.set(ylabel=f"growth of the gradient $\\chi_1$, depth {x[-1]}", ylim=(0, None))
    chi.axhline(1, color="0.8", linewidth=0.5, zorder=0)
    separation.set(ylabel=f"$1 - c_L$ before training, depth {x[-1]}", ylim=(0, None))
    scaled.set(xscale="log", xlabel="$L/\\xi$, depth over depth scale (0.01: critical)", ylabel="test accuracy", ylim=(0, 1.05))
    scaled.axvline(6, color="0.8", linewidth=0.5, zorder=0)
    scaled.text(5.4, 0.1, "$L = 6\\xi$", ha="right", color="0.4")
    _style.legend(above[0], result["simulation"].sizes["seed"], "theory", above=True, point="networks", ncols=7)
    return figure
