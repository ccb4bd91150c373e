"""Error against prefix size on digits: nested linear autoencoders over principal components, and nonlinear encoders."""

from ...sweeps import statistics
from .. import _style

NAMES = {"relu_error": "ReLU encoder, nested", "alone_error": "ReLU encoder, a network a size"}


def draw(result, config):
    simulated = result["simulation"]
    size = simulated["trained"].values
    figure, axes = _style.panels(height=2.8)
    _style.compare(axes, size, result, "error", 0, "linear encoder, nested")
    for index, (field, name) in enumerate(NAMES.items(), start=1):
        _style.measured(axes, size, statistics(result, field), index, name, filled=True)
    axes.set(xscale="log", xlabel="prefix size $m$", ylabel="mean squared error of an image", ylim=(0, None))
    _style.log_ticks(axes.xaxis, size)
    _style.legend(axes, simulated.sizes["seed"], "principal components", point="networks")
    return figure
