"""Test error against samples with and without the constant in the tokens, for the targets that need it."""

from .. import _style
from . import _panels

FIELDS = {"plain": "tokens $x$", "augmented": "tokens $[x; 1]$"}


def draw(result, config):
    figure, panels = _style.panels(columns=2, sharey=True)
    for axes, target in zip(panels, result["simulation"]["target"].values, strict=True):
        for index, (field, label) in enumerate(FIELDS.items()):
            _style.compare(axes, config.num_samples, result, field, index, label, {"target": target})
        _panels.over_samples(axes, config)
        axes.axhline(1 + config.noise_variance, **_panels.FLOOR)
        axes.set_title(_panels.TARGETS[target])
    panels[1].set_ylabel("")
    _style.legend(panels[0], result["simulation"].sizes["seed"], point="ridge on heads", loc="lower left")
    return figure
