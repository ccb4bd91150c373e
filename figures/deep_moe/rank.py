"""Risk of trained experts against the width, for three kinds of gates: singular values beyond the width over descent."""

from .. import _style

TEXTS = {"one-hot": "one-hot gates", "soft": "soft gates", "uninformed": "first gate uninformed"}


def draw(result, config):
    simulated = result["simulation"]
    figure, axes = _style.panels(height=2.9)
    widths = simulated["width"].values
    for index, gate in enumerate(simulated["gate"].values.tolist()):
        _style.compare(axes, widths, result, "risk", index, TEXTS[gate], {"gate": gate})
    _style.rival(axes, widths[[0, -1]], [0, 0], label="one layer, an expert a pair", color="0.35")
    axes.set(xlabel="hidden units $h$", ylabel="risk  $E\\,|y - f(x)|^2$")
    _style.legend(axes, simulated.sizes["seed"], "best of all experts", point="gradient descent")
    return figure
