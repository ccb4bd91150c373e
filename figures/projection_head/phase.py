"""Where the layer before the head is better: the boundary in the plane of signal and noise, shares of variance, probes."""

import numpy as np

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    signals, noise = (simulated[axis].values for axis in ("signal", "noise_std"))
    figure, (plane, shares, probes) = _style.panels(columns=3, height=2.8)
    for panel, field, title in (
        (plane, "advantage", "share of variance"),
        (probes, "probe_gain", "few-shot regression, no verdict"),
    ):
        mean = statistics(result, field)[0].values
        for better, index, label in ((mean > 0, 1, "better before the head"), (mean < 0, 0, "better behind the head")):
            rows, columns = np.nonzero(better)
            panel.plot(
                signals[rows], noise[columns], linestyle="", marker="s", markersize=3, color=_style.colour(index), alpha=0.4
            )
            if panel is plane:
                panel.plot([], [], linestyle="", marker="s", markersize=3, color=_style.colour(index), alpha=0.4, label=label)
        panel.set(xlabel="signal $\\phi$", ylabel="augmentation noise $\\sigma$", title=title)
    _style.compare(plane, signals, result, "critical_noise", shade=_style.ALONE)
    _style.rival(probes, *_style.along(result, "critical_noise", signals), color=_style.ALONE)
    chosen = np.unique(np.linspace(0, len(signals) - 1, 4).round().astype(int))
    for index, signal in enumerate(signals[chosen].tolist()):
        _style.compare(shares, noise, result, "advantage", index, f"$\\phi$ = {signal:g}", {"signal": signal})
    shares.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    shares.set(xlabel="augmentation noise $\\sigma$", ylabel="share before less share behind", title="of the representation")
    shares.legend()
    _style.legend(plane, simulated.sizes["seed"], "theory", above=True, point="networks", ncols=5)
    return figure
