"""Loss, error and balance when both layers or only one is trained: mean field over SGD."""

from ...sweeps import prediction, statistics
from .. import _style

LABELS = {"both": "both layers", "weights": "first layer only", "readout": "readout only"}


def draw(result, config):
    time = result["simulation"]["step"].values * config.learning_rate
    seeds = result["simulation"].sizes["seed"]
    figure, panels = _style.panels(columns=3)
    names = {
        "loss": "loss  2 log(1 + exp(−y f))",
        "error": "test error",
        "imbalance": "mean of $\\|w\\|^2 - a^2$",
    }
    for axes, (field, label) in zip(panels, names.items(), strict=True):
        mean, error = statistics(result, field)
        for index, train in enumerate(mean["train"].values):
            at = {"train": train}
            _style.theory(axes, time, prediction(result, field).sel(at), index, LABELS[train])
            _style.simulation(axes, time, (mean.sel(at), error.sel(at)), index)
        axes.set(xlabel="time  (learning rate × step)", ylabel=label)
    panels[0].set_yscale("log")
    _style.legend(panels[0], seeds, "noisy mean field")
    return figure
