"""Cover's count, the map of separable shares with the threshold over it, and Gardner's margin of random labels."""

import numpy as np

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    figure, ((random, taught), (threshold, margin)) = _style.panels(columns=2, rows=2, height=2.6)
    _style.compare(random, np.array(config.ratios), result, "random_share", 0)
    random.axvline(2, color="0.6", linewidth=0.7, zorder=0)
    random.set(xlabel="samples a dimension  $n/d$", ylabel="share separable", title=f"random labels, d = {config.dim}")
    flips = np.array(config.flips)
    ratios = config.lowest + config.spacing * np.arange(config.num_spaced)
    share = np.asarray(statistics(result, "share")[0])
    # cells of equal width, the theory between their middles
    places, order, (fine, known) = np.arange(len(flips)), np.argsort(flips), _style.along(result, "threshold", flips)
    image = taught.pcolormesh(places, ratios, share[order].T, cmap="Blues", vmin=0, vmax=1, shading="nearest")
    figure.colorbar(image, ax=taught, label="share separable")
    _style.theory(taught, np.interp(np.log(fine), np.log(flips[order]), places), known, 5, "theory")
    taught.set(xlabel="share of flipped labels", ylabel="samples a dimension  $n/d$", title=f"sign teacher, d = {config.dim}")
    taught.set_xticks(places, [f"{one:g}" for one in flips[order]])
    taught.legend(loc="upper right")
    _style.compare(threshold, flips, result, "threshold", 1)
    threshold.set(xlabel="share of flipped labels", ylabel="threshold  $n/d$")
    ratio = np.array(config.margin_ratios)
    for index, (field, name) in enumerate((("margin", "largest margin  $\\kappa$"), ("support", "share of support vectors"))):
        _style.compare(margin, ratio, result, field, 2 + index, name)
    margin.set(xlabel="samples a dimension  $n/d$", title=f"random labels, d = {config.margin_dim}")
    margin.legend()
    _style.legend(random, result["simulation"].sizes["seed"], point="labels drawn", loc="lower left")
    return figure
