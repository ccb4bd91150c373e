"""Error against prefix size of nested linear autoencoders on digits, and accuracy of nested classifiers."""

from ...sweeps import statistics
from .. import _style

NAMES = {"accuracy": "nested", "alone_accuracy": "a network a size"}


def draw(result, config):
    simulated = result["simulation"]
    size = simulated["trained"].values
    figure, (error, accuracy) = _style.panels(columns=2, height=2.6)
    _style.compare(error, size, result, "error", shade=_style.ALONE)
    for index, (field, name) in enumerate(NAMES.items(), start=1):
        _style.measured(accuracy, size, statistics(result, field), index, name, filled=True)
    error.set(ylabel="mean squared error of an image", ylim=(0, None), title="linear autoencoder")
    accuracy.set(ylabel="accuracy on test images", ylim=(0, 1.02), title="ReLU encoder, softmax classifiers")
    for axes in (error, accuracy):
        axes.set(xscale="log", xlabel="prefix size $m$")
        _style.log_ticks(axes.xaxis, size)
    accuracy.legend(loc="lower right")
    _style.legend(error, simulated.sizes["seed"], "principal components", point="networks")
    return figure
