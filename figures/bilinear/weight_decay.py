"""Eigenvalues, squared norm and rank against weight decay: soft thresholds over gradient descent."""

from .. import _style


def draw(result, config):
    decays = result["simulation"]["weight_decay"].values
    figure, (left, middle, right) = _style.panels(columns=3)
    for index in range(result["simulation"].sizes["mode"]):
        _style.compare(left, decays, result, "eigenvalues", index, at={"mode": index})
        _style.rival(left, *_style.along(result, "eigenvalues", decays, {"mode": index}, "prediction_uncoupled"), index)
    _style.compare(middle, decays, result, "norm", shade=_style.ALONE)
    _style.compare(right, decays, result, "rank", shade=_style.ALONE, drawstyle="steps-mid")
    middle.set_ylabel("$\\|W\\|^2 + \\|V\\|^2$")
    right.set_ylabel("rank")
    _style.rival(left, [], [], label="threshold without the trace", color="0.35")
    left.legend()
    left.set_ylabel("eigenvalues of the form")
    for axes in (left, middle, right):
        axes.set_xlabel("weight decay")
    _style.legend(middle, result["simulation"].sizes["seed"], "nuclear norm", point="gradient descent")
    return figure
