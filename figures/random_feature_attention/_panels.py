"""What the figures of this paper share: names of targets and models, and panels of errors."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

TARGETS = {
    "linear": "linear $\\langle\\beta, x_i\\rangle$",
    "quadratic": "quadratic $\\langle\\beta, x_i\\rangle^2$",
    "correlation": "correlation $\\langle x_0, x_i\\rangle$",
    "gated": "gated $\\langle x_0, x_i\\rangle\\langle\\beta, x_i\\rangle$",
    "twice": "gated twice $\\langle x_0, x_i\\rangle^2\\langle\\beta, x_i\\rangle$",
}
FLOOR = {"color": "0.6", "linewidth": 0.7, "zorder": 0}  # reference lines


def over_samples(axes, config):
    """The axis of the number of samples, with the noise as the floor of an error."""
    axes.axhline(config.noise, **FLOOR)
    axes.set(xscale="log", yscale="log", xlabel="training examples $n$", ylabel="test error, noise included")
    axes.set_xscale("log", base=2)


def over_heads(result, config, targets, rival, rival_label):
    """Test error against heads, a panel a target: points away from the peak and near it on one curve, and a rival's curve."""
    size = config.model.dim + config.model.augment
    away, near = [], []
    for heads in config.num_heads:
        (near if 1 / 1.3 < heads * size / config.num_samples < 1.3 else away).append(heads)
    order = np.argsort([*away, *near])
    heads = np.array([*away, *near])[order]

    def joined(parts, target):
        return np.concatenate([np.asarray(part.isel(target=target)) for part in parts])[order]

    figure, panels = _style.panels(columns=len(targets))
    for index, (axes, target) in enumerate(zip(panels, targets, strict=True)):
        curves = [
            joined([prediction(result, field, side) for field in ("test", "peak")], index) for side in ("prediction", rival)
        ]
        both = [statistics(result, field) for field in ("test", "peak")]
        points = joined([mean for mean, _ in both], index), joined([error for _, error in both], index)
        _style.theory(axes, heads, curves[0], 0)
        _style.theory(axes, heads, curves[1], 1, rival_label, linestyle="--")
        _style.simulation(axes, heads, points, 0)
        axes.axvline(config.num_samples / size, **FLOOR)
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="heads $M$ (line: features = examples)",
            ylabel="test error, noise included",
            title=TARGETS[target],
        )
    _style.legend(panels[-1], result["simulation"].sizes["seed"], above=True, point="ridge on heads", ncols=3)
    return figure
