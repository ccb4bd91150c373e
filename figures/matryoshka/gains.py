"""Gains of every layer, and scales of its representation, for the first coordinates of networks of several depths."""

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    coordinates = simulated["coordinate"].values[:3]
    figure, panels = _style.panels(columns=len(coordinates), rows=2, height=2.2, squeeze=False, sharex=True)
    for index, depth in enumerate(config.depths):
        layers = range(1, depth + 1)
        for (gain, scale), coordinate in zip(panels.T, coordinates, strict=True):
            at = {"layer": [f"{n} of {depth}" for n in layers], "coordinate": coordinate}
            for panel, field in ((gain, "gain"), (scale, "scale")):
                _style.compare(panel, layers, result, field, index, f"$N$ = {depth}", at)
            random = [values.sel(at) for values in statistics(result, "random_gain")]
            _style.measured(gain, [n + 0.12 for n in layers], random, index)
    for place, (gain, scale) in enumerate(panels.T, start=1):
        contained = config.width + 1 - place
        gain.set(title=f"coordinate {place}, in {contained} prefix{'es' if contained > 1 else ''}")
        scale.set(xlabel="layer $n$")
        scale.xaxis.set_ticks(range(1, max(config.depths) + 1))
    panels[0, 0].set_ylabel("gain $w_n$ of the layer")
    panels[1, 0].set_ylabel("scale $g_n$ in $z_n$")
    point = "aligned start (small: random start)"
    _style.legend(panels[0, 0], simulated.sizes["seed"], "fixed point", above=True, point=point, ncols=4)
    return figure
