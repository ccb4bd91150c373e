"""Distances to the fixed point by iteration and flow, and rates for six spectra: exact lines, simulated points."""

import numpy as np

from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    spectra = simulated["spectrum"].values.tolist()
    figure, ((left, middle, right), (factors, rates, arrival)) = _style.panels(columns=3, rows=2, height=2.5)
    for index, spectrum in enumerate(spectra):
        at = {"spectrum": spectrum}
        _style.compare(left, simulated["step_of_picard"].values, result, "picard_error", index, spectrum, at)
        _style.compare(middle, simulated["time"].values, result, "flow_error", index, at=at)
        _style.compare(right, config.dampings, result, "damped_rate", index, at=at)
    left.set(yscale="log", xlabel="Picard step $k$", ylabel="$|z_k - z^*|$, start 1", ylim=(1e-7, 1e7))
    middle.set(yscale="log", xlabel="time $t$ of the flow", ylabel="$|z(t) - z^*|$, start 1")
    right.axhline(1, color="0.6", linewidth=0.5, zorder=0)
    right.set(xlabel="damping $h$", ylabel="factor per step", ylim=(0.3, 1.6))
    place = np.arange(len(spectra))
    _values(factors, place, result, {"picard_rate": "Picard", "best_rate": "best damping"})
    factors.set(yscale="log", ylabel="factor per step", ylim=(0.3, 8))
    factors.axhline(1, color="0.6", linewidth=0.5, zorder=0)
    _values(rates, place, result, {"flow_rate": "flow"}, first=2)
    rates.set(ylabel="rate of the flow")
    rates.axhline(0, color="0.6", linewidth=0.5, zorder=0)
    _values(arrival, place, result, {"picard_arrives": "Picard", "flow_arrives": "flow"})
    arrival.set(ylabel="arrives", yticks=(0, 1), yticklabels=("no", "yes"), ylim=(-0.3, 1.6))
    for axes in (factors, rates, arrival):
        axes.set_xticks(place, spectra, rotation=20)
        axes.set_xlabel("leading eigenvalue")
        axes.margins(x=0.1)
    _style.legend(left, simulated.sizes["seed"], "exact", above=True, point="affine maps", ncols=5)
    return figure


def _values(axes, place, result, fields, first=0):
    """One number a spectrum: theory a dash, simulation a point on it."""
    for index, (field, name) in enumerate(fields.items(), start=first):
        x = place + 0.24 * (index - first - (len(fields) - 1) / 2)
        shade = _style.tint(index - first, len(fields))  # colours are spectra in the other panels
        _style.compare(axes, x, result, field, index, name, shade=shade, linestyle="", marker="_", markersize=11)
    if len(fields) > 1:
        axes.legend(loc="upper right", ncols=2)
