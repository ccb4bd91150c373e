"""Weights of the features behind and before the head against time, from an aligned start, and from random weights."""

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    time = config.learning_rate * simulated["step"].values
    figure, panels = _style.panels(columns=3, height=2.4)
    left, middle, right = panels
    texts = _style.texts(config.signals)
    for feature, text in enumerate(texts):
        at = {"feature": feature}
        _style.compare(left, time, result, "behind", feature, f"$\\phi$ = {text}", at)
        _style.compare(middle, time, result, "before", feature, None, at)
        mean, error = (values.sel(at) for values in statistics(result, "random"))
        _style.measured(right, time, (mean, error), feature)
    titles = "behind the head", "before the head", "behind the head, from random weights"
    for panel, title in zip(panels, titles, strict=True):
        panel.set(xscale="log", xlabel="time, learning rate x steps", title=title)
    left.set_ylabel("weight of a feature")
    _style.legend(left, simulated.sizes["seed"], "closed form", above=True, point="gradient descent", ncols=5)
    return figure
