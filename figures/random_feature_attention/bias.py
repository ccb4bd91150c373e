"""Test and training error against the mean of the heads, a colour a target: law of the fit on simulated points."""

from .. import _style
from . import _panels


def draw(result, config):
    simulated = result["simulation"]
    figure, (left, right) = _style.panels(columns=2)
    for axes, field in ((left, "test"), (right, "train")):
        _panels.over_targets(axes, simulated["model.mean_strength"].values, result, field)
        axes.set(xlabel="mean of the heads $\\alpha$", yscale="log")
    _style.decades(left, right)
    left.set(ylabel="test error, noise included", title=f"$n = {config.num_samples}$, $M = {config.model.num_heads}$")
    right.set(ylabel="training error")
    _style.legend(left, simulated.sizes["seed"], "law given the data", above=True, point="ridge on heads", ncols=3)
    return figure
