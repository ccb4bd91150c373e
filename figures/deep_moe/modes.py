"""Strengths of the modes of a table of experts and the risk against time: sigmoids over gradient descent."""

from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    time = config.learning_rate * simulated["step"].values
    figure, (left, right) = _style.panels(columns=2)
    for index, mode in enumerate(simulated["mode"].values.tolist()):
        left.axhline(mode, color="0.85", linewidth=0.6, zorder=0)
        _style.compare(left, time, result, "strengths", index, f"$\\sigma = {mode:g}$", {"mode": mode})
    _style.compare(right, time, result, "risk", shade=_style.ALONE)
    left.set(xlabel="time, learning rate x steps", ylabel="strength $s$ of the mode")
    right.set(xlabel="time, learning rate x steps", ylabel="risk  $E\\,|y - f(x)|^2$")
    _style.legend(left, simulated.sizes["seed"], "closed form", above=True, point="gradient descent", ncols=7)
    return figure
