"""Accuracy of a majority against the number of correlated votes, and where infinitely many end."""

from ...sweeps import prediction
from .. import _style


def draw(result, config):
    figure, panel = _style.panels(height=2.6)
    correlations = result["simulation"]["process.correlation"].values
    for index, rho in enumerate(correlations):
        here = {"process.correlation": rho}
        _style.compare(panel, config.num_votes, result, "accuracy", index, f"ρ = {_style.texts(correlations)[index]}", here)
        limit = float(prediction(result, "accuracy", "prediction_limit").sel(here)[0])
        _style.rival(panel, config.num_votes, [limit] * len(config.num_votes), index)
    _style.rival(panel, [], [], label="infinitely many votes", color="0.35")
    panel.set(xscale="log", xlabel="correlated votes $n$", ylabel="share decided right")
    _style.legend(panel, result["simulation"].sizes["seed"], "exact", above=True, point="votes drawn", ncols=2)
    return figure
