"""Learning times of an easy and a hard feature against the scale of the start, and their slopes: theory over networks."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels


def draw(result, config):
    simulated = result["simulation"]
    figure, (left, right) = _style.panels(columns=2, height=2.6)
    outputs, scales = simulated["output"].values.tolist(), simulated["scale"].values
    small = np.log(1 / scales)
    for index, output in enumerate(outputs):
        at = {"output": output}
        _panels.unjudged(left, small, result, "times", index, _panels.FEATURES[output], at)
        times = statistics(result, "times")[0].sel(at).values
        slope = float(prediction(result, "slopes").sel(at))
        _style.rival(left, small, times[-1] + slope * (small - small[-1]), index)
        _panels.judged(right, [index], result, "slopes", index, at={"output": [output]})
    left.set(xlabel="$\\ln(1/a)$ of the scale of the start", ylabel="time until half is learned")
    _style.rival(left, [], [], color="0.35", label="predicted slope")
    names = [_panels.FEATURES[output] for output in outputs]
    _panels.named(right, names, ylabel="slope of the time in $\\ln(1/a)$", ylim=(0, 3.3))
    _style.legend(left, simulated.sizes["seed"], "theory", above=True, point="networks", ncols=6)
    return figure
