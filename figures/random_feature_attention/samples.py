"""Test error against samples for three models, a panel a target; training error of the last: law of the fit on points."""

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels

MODELS = ("heads of mean 0", "heads with a mean", "two-layer network")


def draw(result, config):
    samples = config.num_samples
    figure, panels = _style.panels(columns=3, rows=2)
    axes_of = panels.ravel()
    for target, (axes, name) in enumerate(zip(axes_of[:5], _panels.TARGETS, strict=True)):
        _curves(axes, result, "test", target, samples)
        _panels.over_samples(axes, config)
        axes.set_title(_panels.TARGETS[name])
    _curves(axes_of[5], result, "train", 3, samples)
    _panels.over_samples(axes_of[5], config)
    _style.decades(*axes_of)
    axes_of[5].set(ylabel="training error", title=_panels.TARGETS["gated"])
    _style.legend(axes_of[0], result["simulation"].sizes["seed"], "law given the data", above=True, point="ridge", ncols=5)
    return figure


def _curves(axes, result, field, target, samples):
    predicted, (mean, error) = prediction(result, field), statistics(result, field)
    for index, label in enumerate(MODELS):
        at = {"model": index, "target": target}
        _style.theory(axes, samples, predicted.isel(at), index, label)
        _style.simulation(axes, samples, (mean.isel(at), error.isel(at)), index)
