"""Test and training error against the mean of the heads, a colour a target: law of the fit on simulated points."""

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels


def draw(result, config):
    simulated = result["simulation"]
    strengths = simulated["model.mean_strength"].values
    figure, (left, right) = _style.panels(columns=2)
    for axes, field in ((left, "test"), (right, "train")):
        predicted, (mean, error) = prediction(result, field), statistics(result, field)
        for index, name in enumerate(_panels.TARGETS):
            _style.theory(axes, strengths, predicted.isel(target=index), index, _panels.TARGETS[name])
            _style.simulation(axes, strengths, (mean.isel(target=index), error.isel(target=index)), index)
        axes.set(xlabel="mean of the heads $\\alpha$", yscale="log")
    _style.decades(left, right)
    left.set(ylabel="test error, noise included", title=f"$n = {config.num_samples}$, $M = {config.model.num_heads}$")
    right.set(ylabel="training error")
    _style.legend(left, simulated.sizes["seed"], "law given the data", above=True, point="ridge on heads", ncols=3)
    return figure
