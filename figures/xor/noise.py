"""Second moments of the neurons in phase 1 for three batch sizes: linear theory with minibatch noise over SGD."""

from .. import _style

FIELDS = {
    "signal": "mean squared signal",
    "opposite": "mean squared opposite",
    "imbalance": "mean of $\\|w\\|^2 - a^2$",
}


def draw(result, config):
    simulated = result["simulation"]
    time = simulated["step"].values * config.learning_rate
    figure, panels = _style.panels(columns=3)
    for axes, (field, label) in zip(panels, FIELDS.items(), strict=True):
        for index, batch in enumerate(simulated["batch_size"].values):
            kappa = config.learning_rate * config.model.dim / (2 * batch)
            _style.compare(axes, time, result, field, index, f"batch {batch}  (κ = {kappa:.2g})", at={"batch_size": batch})
        axes.set(xlabel="time  (learning rate × step)", ylabel=f"{label}  / $\\theta^2$", yscale="log")
    panels[2].set(yscale="linear")
    _style.legend(panels[2], simulated.sizes["seed"], "linear theory")
    return figure
