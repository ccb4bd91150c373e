"""Loss, error and balance when both layers or only one is trained: mean field over SGD."""

from .. import _style

LABELS = {"both": "both layers", "weights": "first layer only", "readout": "readout only"}


def draw(result, config):
    simulated = result["simulation"]
    time = simulated["step"].values * config.learning_rate
    figure, panels = _style.panels(columns=3)
    names = {
        "loss": "loss  2 log(1 + exp(−y f))",
        "error": "test error",
        "imbalance": "mean of $\\|w\\|^2 - a^2$",
    }
    for axes, (field, label) in zip(panels, names.items(), strict=True):
        for index, train in enumerate(simulated["train"].values):
            _style.compare(axes, time, result, field, index, LABELS[train], at={"train": train})
        axes.set(xlabel="time  (learning rate × step)", ylabel=label)
    panels[0].set_yscale("log")
    _style.legend(panels[0], simulated.sizes["seed"], "noisy mean field")
    return figure
