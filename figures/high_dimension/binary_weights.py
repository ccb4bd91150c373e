"""Overlap of binary weights at every iteration, their entropy against the ratio, and where they are found: two thresholds."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    iterations, ratios, crossings = (simulated[axis].values for axis in ("iteration", "ratio", "crossing"))
    figure, ((overlap, norm), (entropy, phases)) = _style.panels(columns=2, rows=2, height=2.3)
    shown = ratios[np.unique(np.linspace(0, len(ratios) - 1, 4).round().astype(int))].tolist()
    for panel, field, words in ((overlap, "overlap", "overlap with the teacher"), (norm, "norm", "norm $|w|^2/d$")):
        for index, ratio in enumerate(shown):
            _style.compare(panel, iterations, result, field, index, f"$\\alpha$ = {ratio:g}", {"ratio": ratio})
        panel.set(xscale="log", xlabel="iteration", ylabel=words, ylim=(0, 1))
        _style.log_ticks(panel.xaxis, iterations[[0, len(iterations) // 2, -1]])
    _style.compare(entropy, ratios, result, "entropy", shade=_style.ALONE)
    entropy.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    entropy.set(xlabel="samples a dimension $\\alpha$", ylabel="entropy per weight $S$")
    share = statistics(result, "recovered")
    phases.errorbar(share[0].values, crossings, xerr=np.nan_to_num(share[1].values), gid=_style.UNJUDGED, **_measured("0.35"))
    places = {
        "information_threshold": (0.15, 4, "information threshold"),
        "algorithmic_threshold": (0.5, 5, "algorithmic threshold"),
    }
    for field, (place, index, label) in places.items():
        value = float(prediction(result, field))
        _style.theory(phases, [0, 1], [value, value], index, label)
        _style.band(phases, [0, 1], [value, value], *_style.allowance(result, field), index)
        _style.simulation(phases, [place], [np.atleast_1d(part.values) for part in statistics(result, field)], index)
    phases.set(xlabel="share of draws with all weights found", ylabel="samples a dimension $\\alpha$")
    _style.legend(overlap, simulated.sizes["seed"], "theory", above=True, point="message passing", ncols=4)
    phases.legend()
    return figure


def _measured(colour: str) -> dict:
    return {"fmt": "o", "color": colour, "markersize": 2.2, "markerfacecolor": "white", "elinewidth": 0.4}
