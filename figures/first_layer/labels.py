"""Energy profiles for true and random labels of a linear network, predicted, and of one with ReLU units; their similarities."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    figure, (linear, relu, similar) = _style.panels(columns=3, height=2.8)
    names = simulated["label"].values.tolist()
    for index, name in enumerate(names):
        at = {"label": name}
        _style.compare(linear, 1 + np.arange(simulated.sizes["component"]), result, "energies", index, _label(name), at)
        place = 1 + np.arange(simulated.sizes["relu_component"])
        _style.measured(relu, place, [values.sel(at) for values in statistics(result, "relu_energies")], index, filled=True)
    for axes, title in ((linear, "linear network"), (relu, "network with ReLU units")):
        axes.set(yscale="log", xlabel="component $i$, the strongest first", title=title)
    linear.set_ylabel("energy $e_i^2$ in the filters")
    _style.theory(similar, [0], np.atleast_1d(prediction(result, "similarity")), 2, linestyle="", marker="_", markersize=14)
    _style.simulation(similar, [0], [np.atleast_1d(values) for values in statistics(result, "similarity")], 2)
    _style.measured(similar, [1], [np.atleast_1d(values) for values in statistics(result, "relu_similarity")], 2, filled=True)
    for place, field in enumerate(("relu_formula", "relu_start_similarity", "relu_accuracy"), start=2):
        for index, name in enumerate(names):
            mean_and_error = [np.atleast_1d(values.sel({"label": name})) for values in statistics(result, field)]
            _style.measured(similar, [place + 0.16 * (index - 0.5)], mean_and_error, index, filled=True)
    similar.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    ticks = ("linear:\nlabels", "ReLU:\nlabels", "ReLU:\nformula", "ReLU:\nstart", "ReLU:\naccuracy")
    similar.set_xticks(range(len(ticks)), ticks)
    similar.set(xlim=(-0.5, len(ticks) - 0.5), ylim=(None, 1.1), ylabel="similarity of profiles $e$, or accuracy")
    _style.legend(linear, simulated.sizes["seed"], "exact", above=True, point="networks", ncols=5)
    return figure


def _label(name):
    return {"photograph": "labels: which photograph", "random": "random labels"}.get(name, name)
