"""Escape from the plateau or decay, in the plane of initial scale and weight decay, from rank one and from random weights."""

import numpy as np

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    scales, decays = (simulated[axis].values for axis in ("init_scale", "weight_decay"))
    figure, (*panels, shares) = _style.panels(columns=3, height=2.8)
    for panel, field, title in zip(
        panels, ("escaped", "random_escaped"), ("from rank one", "from random weights, no verdict"), strict=True
    ):
        share = statistics(result, field)[0].values
        for left, index, label in ((share > 0.5, 2, "leaves the plateau"), (share <= 0.5, 5, "stuck")):
            rows, columns = np.nonzero(left)
            look = {"linestyle": "", "marker": "s", "markersize": 3, "color": _style.colour(index), "alpha": 0.4}
            panel.plot(scales[rows], decays[columns], **look)
            if panel is panels[0]:
                panel.plot([], [], label=label, **look)
        panel.set(xscale="log", yscale="log", xlabel="norm of a layer at the start $a_0$", title=title)
        _style.log_ticks(panel.xaxis, scales)
    _style.compare(panels[0], scales, result, "threshold", shade=_style.ALONE)
    _style.rival(panels[1], *_style.along(result, "threshold", scales), color=_style.ALONE)
    panels[0].set_ylabel("weight decay $\\lambda$")
    for index, scale in enumerate(scales[:6].tolist()):
        _style.compare(shares, decays, result, "escaped", index, f"$a_0$ = {scale:.3g}", {"init_scale": scale})
    shares.set(xscale="log", xlabel="weight decay $\\lambda$", ylabel="share that leaves the plateau", title="from rank one")
    shares.set_xlim(np.min(decays) / 8, 1.2 * np.max(decays))  # room for the legend
    shares.legend(loc="center left")
    _style.legend(panels[0], simulated.sizes["seed"], "$|b|\\, a_0^{L-2}$", above=True, point="networks", ncols=5)
    return figure
