"""Norms of what a diagonal network finds against the scale of its start, between two limits, and its weights one by one."""

import numpy as np

from ...sweeps import prediction
from .. import _style


def draw(result, config):
    figure, ((norms, lengths), (errors, weights)) = _style.panels(columns=2, rows=2, height=2.4)
    scales = np.array(config.init_scales)
    for axes, field, label in (
        (norms, "l1_norm", "$|\\beta|_1$"),
        (lengths, "l2_norm", "$|\\beta|_2$"),
        (errors, "error", "distance from the sparse map"),
    ):
        _style.compare(axes, scales, result, field, shade=_style.ALONE)
        for index, (name, words) in enumerate((("least_l1", "least $\\ell_1$"), ("least_l2", "least $\\ell_2$"))):
            limit = prediction(result, field, f"prediction_{name}")
            _style.rival(axes, scales, limit, index, words)
        axes.set(xscale="log", xlabel="scale of the start $\\alpha$", ylabel=label)
    beta, known = (result[side]["beta"].isel(seed=0) for side in ("simulation", "prediction"))
    for feature in range(config.dim):
        relevant = feature < config.num_relevant
        look = {"color": _style.colour(feature) if relevant else "0.6"}
        _style.theory(
            weights, scales, known.isel(feature=feature), feature if relevant else 0, linewidth=1.2 if relevant else 0.5, **look
        )
        points = {"marker": "o", "linestyle": "", "markersize": 3 if relevant else 1.5, "markerfacecolor": "white"}
        weights.plot(scales, beta.isel(feature=feature), markeredgewidth=0.5, **points, **look)
    weights.set(xscale="log", xlabel="scale of the start $\\alpha$", ylabel="weights $\\beta_i$ of one network")
    _style.legend(
        norms, result["simulation"].sizes["seed"], "hyperbolic entropy", above=True, point="gradient descent", ncols=4
    )
    return figure
