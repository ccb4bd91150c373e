"""The error that label noise leaves, against the learning rate up to the critical one."""

from .. import _style


def draw(result, config):
    rates = result["simulation"]["learning_rate"].values
    figure, axes = _style.panels(height=2.8)
    _style.compare(axes, rates, result, "error", 0, shade=_style.ALONE)
    fine, first = _style.along(result, "error", rates, side="prediction_first_order")
    _style.rival(axes, fine, first, color=_style.ALONE, label="first order in $\\eta$")
    axes.set(yscale="log", xlabel="learning rate $\\eta$", ylabel="error at rest $E/\\sigma^2$")
    _style.legend(axes, result["simulation"].sizes["seed"], "many dimensions")
    return figure
