"""Strengths of two features and their shares of the hidden variance against time, for several depths: theory over descent."""

from .. import _style

PLACES = ("first layer", "last layer")


def draw(result, config):
    simulated = result["simulation"]
    time = config.learning_rate * simulated["step"].values
    cells = _style.cells(result, "depth")
    figure, panels = _style.panels(columns=len(cells), rows=2, height=2.1, sharex=True, squeeze=False)
    features = range(simulated.sizes["feature"])
    for (top, bottom), cell in zip(panels.T, cells, strict=True):
        for feature in features:
            target = config.targets[feature]
            _style.compare(top, time, result, "strengths", feature, f"$t = {target:g}$", {**cell, "feature": feature})
            top.axhline(target, color="0.85", linewidth=0.6, zorder=0)
            for place, name in enumerate(simulated["place"].values.tolist()):
                index = feature + place * len(features)
                at, label = {**cell, "feature": feature, "place": name}, f"$t = {target:g}$, {PLACES[place]}"
                _style.compare(bottom, time, result, "shares", index, label, at)
        top.set_title(f"{cell.get('depth', config.depth)} layers")
        bottom.set(xlabel="time, learning rate x steps", ylim=(0, 1.35))
    panels[0, 0].set_ylabel("strength $u_i$")
    panels[1, 0].set_ylabel("share of the hidden variance")
    panels[1, -1].legend(ncols=2, loc="upper right")
    _style.legend(panels[0, 0], simulated.sizes["seed"], "closed form", above=True, point="gradient descent", ncols=5)
    return figure
