"""Eigenvalues, squared norm and rank against weight decay: soft thresholds over gradient descent."""

from ...sweeps import prediction
from .. import _style


def draw(result, config):
    decays = result["simulation"]["weight_decay"].values
    figure, (left, middle, right) = _style.panels(columns=3)
    uncoupled = prediction(result, "eigenvalues", "prediction_uncoupled")
    for index in range(result["simulation"].sizes["mode"]):
        _style.compare(left, decays, result, "eigenvalues", index, at={"mode": index})
        _style.theory(left, decays, uncoupled.sel(mode=index), index, linestyle=":", linewidth=0.7)
    _style.compare(middle, decays, result, "norm")
    _style.compare(right, decays, result, "rank", drawstyle="steps-mid")
    middle.set_ylabel("$\\|W\\|^2 + \\|V\\|^2$")
    right.set_ylabel("rank")
    left.plot([], [], color="0.35", linestyle=":", linewidth=0.7, label="threshold without the trace")
    left.legend()
    left.set_ylabel("eigenvalues of the form")
    for axes in (left, middle, right):
        axes.set_xlabel("weight decay")
    _style.legend(middle, result["simulation"].sizes["seed"], "nuclear norm", point="gradient descent")
    return figure
