"""Test error against samples with and without the constant in the tokens, for the targets that need it."""

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels


def draw(result, config):
    samples = config.num_samples
    figure, panels = _style.panels(columns=2, sharey=True)
    for target, (axes, name) in enumerate(zip(panels, ("quadratic", "correlation"), strict=True)):
        for index, (field, label) in enumerate((("plain", "tokens $x$"), ("augmented", "tokens $[x; 1]$"))):
            mean, error = statistics(result, field)
            _style.theory(axes, samples, prediction(result, field).isel(target=target), index, label)
            _style.simulation(axes, samples, (mean.isel(target=target), error.isel(target=target)), index)
        _panels.over_samples(axes, config)
        axes.axhline(1 + config.noise, **_panels.FLOOR)
        axes.set_title(_panels.TARGETS[name])
    panels[1].set_ylabel("")
    _style.legend(panels[0], result["simulation"].sizes["seed"], point="ridge on heads", loc="lower left")
    return figure
