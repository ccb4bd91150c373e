"""Overlap of binary weights at every iteration, their entropy against the ratio, and where they are found: two thresholds."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    iterations, ratios, crossings = (simulated[axis].values for axis in ("iteration", "ratio", "crossing"))
    figure, (paths, entropy, phases) = _style.panels(columns=3, height=2.8)
    shown = ratios[np.unique(np.linspace(0, len(ratios) - 1, 4).round().astype(int))].tolist()
    for index, ratio in enumerate(shown):
        _style.compare(paths, iterations, result, "overlap", index, f"$\\alpha$ = {ratio:g}", {"ratio": ratio})
        norm = [part.sel(ratio=ratio) for part in statistics(result, "norm")]
        _style.simulation(paths, iterations, norm, index, markersize=1.6, elinewidth=0.4, capsize=0)
    paths.set(xscale="log", xlabel="iteration", ylabel="overlap $q$ (small: $|w|^2/d$)", ylim=(0, 1))
    _style.compare(entropy, ratios, result, "entropy", shade=_style.ALONE)
    entropy.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    entropy.set(xlabel="samples a dimension $\\alpha$", ylabel="entropy per weight $S$")
    share = statistics(result, "recovered")
    phases.errorbar(
        share[0].values, crossings, xerr=np.nan_to_num(share[1].values), gid=_style.UNJUDGED, **_measured("0.35")
    )
    places = {"information_threshold": (0.15, 4, "information"), "algorithmic_threshold": (0.5, 5, "message passing")}
    for field, (place, index, label) in places.items():
        value = float(prediction(result, field))
        _style.theory(phases, [0, 1], [value, value], index, label)
        _style.band(phases, [0, 1], [value, value], *_style.allowance(result, field), index)
        _style.simulation(phases, [place], [np.atleast_1d(part.values) for part in statistics(result, field)], index)
    phases.set(xlabel="share of draws with all weights found", ylabel="samples a dimension $\\alpha$")
    _style.legend(paths, simulated.sizes["seed"], "theory", above=True, point="message passing", ncols=8)
    phases.legend()
    return figure


def _measured(colour: str) -> dict:
    return {"fmt": "o", "color": colour, "markersize": 2.2, "markerfacecolor": "white", "elinewidth": 0.4}
