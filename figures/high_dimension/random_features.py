"""Error, training loss and order parameters of two losses against the number of random features."""

from .. import _style

WORDS = {
    "error": "error on fresh labels",
    "training_loss": "training loss",
    "overlap": "overlap with the teacher $m$",
    "norm": "variance of the output $q$",
    "weight_norm": "$|w|^2/d$",
}


def draw(result, config):
    simulated = result["simulation"]
    counts = simulated["num_features"].values
    figure, panels = _style.panels(columns=3, rows=2, height=2.3)
    for panel, (field, words) in zip(panels.flat, WORDS.items(), strict=False):
        for index, loss in enumerate(simulated["loss"].values.tolist()):
            label = {"logistic": "logistic regression", "square": "least squares"}[loss]
            _style.compare(panel, counts / config.num_samples, result, field, index, label, {"loss": loss})
        panel.axvline(1, color="0.85", linewidth=0.6, zorder=0)
        panel.set(xlabel="features a sample", ylabel=words)
        if field in ("norm", "weight_norm"):
            panel.set_yscale("log")
    panels.flat[-1].set_axis_off()
    _style.legend(panels.flat[0], simulated.sizes["seed"], above=True, point="fits", ncols=5)
    return figure
