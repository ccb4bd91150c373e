"""What the gates of either layer tell about either factor, the error that is left, and gradients of gates of equal experts."""

import numpy as np

from .. import _style
from ..feature_bias import _panels


def draw(result, config):
    simulated = result["simulation"]
    figure, (left, middle, right) = _style.panels(columns=3, height=2.5)
    layers, factors = simulated["layer"].values.tolist(), simulated["factor"].values.tolist()
    numbers = dict(zip(factors, (config.model.num_first, config.model.num_second), strict=True))
    places = np.arange(len(layers))
    for index, factor in enumerate(factors):
        _panels.unjudged(
            left, places + 0.1 * (index - 0.5), result, "information", index, f"about {factor}", {"factor": factor}
        )
        _style.rival(left, [-0.5, 1.5], [np.log(numbers[factor])] * 2, index)
    _style.rival(left, [], [], color="0.35", label="all there is")
    _panels.named(left, [f"{layer} layer" for layer in layers], ylim=(0, None), ylabel="information in the gate, nats")
    for place, field in enumerate(("power", "risk")):
        _panels.unjudged(middle, [place], result, field, 2 + place)
    _panels.named(middle, ("target $E\\,|y|^2$", "left $E\\,|y - f|^2$"), ylim=(0, None), ylabel="mean square")
    _panels.judged(right, places, result, "gate_gradient", 4, "gate")
    _panels.unjudged(right, places, result, "expert_gradient", 5, "experts")
    right.set_yscale("symlog", linthresh=1e-16)
    right.set_yticks([0, 1e-15, 1e-10, 1e-5, 1])
    _panels.named(right, [f"{layer} layer" for layer in layers], ylabel="largest gradient, equal experts")
    right.legend(loc="center")
    _style.legend(left, simulated.sizes["seed"], "theory", above=True, point="networks", ncols=6)
    return figure
