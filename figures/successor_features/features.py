"""Leading singular vectors of four rooms as maps beside learned features, what these capture, and the noise that is left."""

import numpy as np

from .. import _style

SHOWN = (0, 1, 2, 3)


def draw(result, config):
    simulated = result["simulation"]
    cells = _style.cells(result, "learning_rate")
    rates = [cell.get("learning_rate", config.learning_rate) for cell in cells]
    middle = cells[len(cells) // 2]
    places = np.array([[int(part) for part in place.split(",")] for place in simulated["state"].values.tolist()])
    shown = [feature for feature in SHOWN if feature < simulated.sizes["feature"]]
    figure, panels = _style.panels(columns=3, rows=2, height=2.6)
    (*maps, captured, noise) = panels.ravel()
    for panel, feature in zip(maps, shown, strict=False):
        pair = simulated["maps"].sel(middle).isel(seed=0, feature=feature)
        tiles = [_map(pair.sel(source=source).values, places) for source in simulated["source"].values.tolist()]
        _style.signed_image(panel, np.concatenate([tiles[0], np.zeros((len(tiles[0]), 1)), tiles[1]], axis=1))
        panel.set_title(f"feature {feature + 1}: singular vector | learned")
    for panel in maps[len(shown) :]:
        panel.set_axis_off()
    place = 1 + np.arange(simulated.sizes["feature"])
    for index, (cell, rate) in enumerate(zip(cells, rates, strict=True)):
        _style.compare(captured, place, result, "captured", index, f"$\\eta$ = {rate:g}", cell)
    captured.set(xlabel="principal direction $i$", ylabel="captured variance of values", yscale="log", xticks=place)
    captured.yaxis.set_minor_formatter("{x:g}")
    at = {} if "learning_rate" in simulated.dims else None
    if at is None:
        mean = _style.statistics(result, "distance")
        _style.theory(noise, rates, [_style.prediction(result, "distance")], 0, linestyle="", marker="_")
        _style.simulation(noise, rates, [np.atleast_1d(values) for values in mean], 0)
    else:
        _style.compare(noise, rates, result, "distance", shade=_style.ALONE)
    noise.set(xscale="log", yscale="log", xlabel="step size $\\eta$", ylabel="squared distance $d$ that is left")
    _style.log_ticks(noise.xaxis, rates)
    _style.legend(captured, simulated.sizes["seed"], "predicted", above=True, point="learned", ncols=5)
    return figure


def _map(values, places):
    """A feature on the map; walls 0."""
    low, high = places.min(axis=0), places.max(axis=0)
    found = np.zeros(high - low + 1)
    found[tuple((places - low).T)] = values
    return found
