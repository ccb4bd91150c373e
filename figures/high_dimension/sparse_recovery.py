"""Errors of message passing against iterations, and shares of draws that are recovered around the predicted thresholds."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    figure, (errors, shares, thresholds) = _style.panels(columns=3)
    iterations = result["simulation"]["iteration"].values
    _style.compare(errors, iterations, result, "mse", shade=_style.ALONE)
    errors.set(yscale="log", xlabel="iteration", ylabel="error $|w_t - \\theta|^2/d$")
    for index, (found, threshold, ratios, label) in enumerate(
        (
            ("passing_found", "passing_threshold", config.passing_ratios, f"message passing, $d$ = {config.passing_dim}"),
            ("l1_found", "l1_threshold", config.l1_ratios, f"least $\\ell_1$ norm, $d$ = {config.l1_dim}"),
        )
    ):
        _style.measured(shares, np.array(ratios), statistics(result, found), index, filled=True)
        limit, (mean, error) = float(prediction(result, threshold)), map(float, statistics(result, threshold))
        low, high = min(config.passing_ratios[0], config.l1_ratios[0]), max(config.passing_ratios[-1], config.l1_ratios[-1])
        _style.theory(shares, [low, limit, limit, high], [0, 0, 1, 1], index, label)
        _style.theory(thresholds, [index - 0.3, index + 0.3], [limit, limit], index)
        _style.simulation(thresholds, [index], ([mean], [error]), index)
    shares.set(xlabel="measurements a weight $\\alpha$", ylabel="share of draws found", ylim=(-0.05, 1.05))
    thresholds.set(ylabel="threshold of $\\alpha$", xlim=(-0.6, 1.6))
    thresholds.set_xticks([0, 1], ["message passing", "least $\\ell_1$ norm"])
    _style.legend(shares, result["simulation"].sizes["seed"], above=True, point="simulation", ncols=3)
    return figure
