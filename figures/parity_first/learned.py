"""Cross-entropy, accuracy and attention of a learned FIRST against its test length, for several training lengths."""

import numpy as np

from ...sweeps import statistics
from .. import _style

LENGTH, SCALING = "train_length", "model.scaling"
NAMES = {"constant": "softmax", "log_length": "logits times ln $N$"}


def draw(result, config):
    simulated = result["simulation"]
    tests, far, layers = (simulated[axis].values for axis in ("test_length", "far_length", "layer"))
    trained, scalings = _style.cells(result, LENGTH), _style.cells(result, SCALING)
    figure, (top, bottom) = _style.panels(columns=3, rows=2)
    for axes in top[len(trained) :]:
        axes.set_axis_off()
    for place, cell in enumerate(trained[: len(top)]):
        for index, scaling in enumerate(scalings):
            at, name = {**cell, **scaling}, NAMES[scaling.get(SCALING, config.model.scaling)]
            _style.compare(top[place], tests, result, "cross_entropy", index, name, at)
            beyond = [values.sel(at) for values in statistics(result, "far_cross_entropy")]
            _style.measured(top[place], far, beyond, index, filled=True)
        top[place].axhline(1, color="0.8", linewidth=0.6, zorder=0)
        top[place].set(xscale="log", ylim=(0, None), ylabel="cross-entropy (bits)")
        top[place].set_title(f"trained at $n$ = {cell.get(LENGTH, config.train_length)}")
    for place, cell in enumerate(trained):
        for index, scaling in enumerate(scalings):
            at = {**cell, **scaling}
            shade = _style.tint(place, len(trained), _style.colour(index))
            _style.compare(bottom[0], tests, result, "accuracy", index, None, at, shade)
            for axes, layer in zip(bottom[1:], layers[-2:], strict=False):
                _style.compare(axes, tests, result, "attention", index, None, {**at, "layer": layer}, shade)
                axes.set(yscale="log", ylabel="attention to the first bit", title=f"layer {layer}")
    bottom[0].set(ylabel="accuracy", ylim=(0.4, 1.05))
    for axes in (*top, *bottom):
        axes.set(xlabel="test length $n$ (bits)", xscale="log")
    bottom[0].set_title("dark to pale: trained at " + ", ".join(map(str, _trained(trained, config))))
    _style.decades(*bottom[1:])
    _style.legend(top[0], simulated.sizes["seed"], "four kinds of tokens", above=True, point="trained networks", ncols=5)
    return figure


def _trained(trained, config):
    return np.array([cell.get(LENGTH, config.train_length) for cell in trained]).tolist()
