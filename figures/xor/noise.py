"""Second moments of the neurons in phase 1 for three batch sizes: linear theory with minibatch noise over SGD."""

from ...sweeps import prediction, statistics
from .. import _style

FIELDS = {
    "signal": "mean squared signal",
    "opposite": "mean squared opposite",
    "imbalance": "mean of $\\|w\\|^2 - a^2$",
}


def draw(result, config):
    time = result["simulation"]["step"].values * config.learning_rate
    figure, panels = _style.panels(columns=3)
    for axes, (field, label) in zip(panels, FIELDS.items(), strict=True):
        mean, error = statistics(result, field)
        curves = prediction(result, field)
        for index, batch in enumerate(mean["batch_size"].values):
            at = {"batch_size": batch}
            kappa = config.learning_rate * config.model.dim / (2 * batch)
            _style.theory(axes, time, curves.sel(at), index, f"batch {batch}  (κ = {kappa:.2g})")
            _style.simulation(axes, time, (mean.sel(at), error.sel(at)), index)
        axes.set(xlabel="time  (learning rate × step)", ylabel=f"{label}  / $\\theta^2$", yscale="log")
    panels[2].set(yscale="linear")
    _style.legend(panels[2], result["simulation"].sizes["seed"], "linear theory")
    return figure
