"""Test error against samples for three models, a panel a target; training error of the last: law of the fit on points."""

from .. import _style
from . import _panels

MODELS = {
    "heads of mean zero": "heads of mean 0",
    "heads with a mean": "heads with a mean",
    "network": "two-layer network",
}


def draw(result, config):
    figure, panels = _style.panels(columns=3, rows=2)
    *tests, train = panels.ravel()
    for axes, target in zip(tests, result["simulation"]["target"].values, strict=True):
        _over_models(axes, result, config, "test", target)
    _over_models(train, result, config, "train", "gated")
    _style.decades(*panels.ravel())
    train.set(ylabel="training error")
    _style.legend(tests[0], result["simulation"].sizes["seed"], "law given the data", above=True, point="ridge", ncols=5)
    return figure


def _over_models(axes, result, config, field, target):
    for index, (model, label) in enumerate(MODELS.items()):
        at = {"model": model, "target": target}
        _style.compare(axes, config.num_samples, result, field, index, label, at)
    _panels.over_samples(axes, config)
    axes.set_title(_panels.TARGETS[target])
