"""What the figures of this paper share: words for the targets, and panels of errors."""

import numpy as np

from ...sweeps import allowance, curve, statistics
from .. import _style

TARGETS = {
    "linear": "linear $\\langle\\beta, x_i\\rangle$",
    "quadratic": "quadratic $\\langle\\beta, x_i\\rangle^2$",
    "correlation": "correlation $\\langle x_0, x_i\\rangle$",
    "gated": "gated $\\langle x_0, x_i\\rangle\\langle\\beta, x_i\\rangle$",
    "gated twice": "gated twice $\\langle x_0, x_i\\rangle^2\\langle\\beta, x_i\\rangle$",
}
FLOOR = {"color": "0.6", "linewidth": 0.7, "zorder": 0}  # reference lines


def over_targets(axes, x, result, field):
    """Theory and simulation, a curve a target."""
    for index, target in enumerate(result["simulation"]["target"].values):
        _style.compare(axes, x, result, field, index, TARGETS[target], {"target": target})


def over_samples(axes, config):
    """The axis of the number of samples, with the noise as the floor of an error."""
    axes.axhline(config.noise_variance, **FLOOR)
    axes.set(xscale="log", yscale="log", xlabel="training examples $n$", ylabel="test error, noise included")
    axes.set_xscale("log", base=2)


def over_heads(result, config, rival, rival_label):
    """Test error against heads, a panel a target: points away from the peak and near it on one curve, and a rival's curve."""

    def joined(test, peak):
        return test.combine_first(peak.rename(near="heads")).sortby("heads")

    predicted, other = (
        joined(curve(result, "test", "heads", side), curve(result, "peak", "near", side)) for side in ("prediction", rival)
    )
    mean, error = map(joined, statistics(result, "test"), statistics(result, "peak"))
    near, allowed = curve(result, "peak", "near")["near"], [allowance(result, field)[0] for field in ("peak", "test")]
    figure, panels = _style.panels(columns=mean.sizes["target"])
    for axes, target in zip(panels, mean["target"].values, strict=True):
        at = {"target": target}
        _style.theory(axes, predicted["heads"], predicted.sel(at), 0)
        _style.band(axes, predicted["heads"], predicted.sel(at), np.where(predicted["heads"].isin(near), *allowed))
        _style.rival(axes, other["heads"], other.sel(at), 1, rival_label)
        _style.simulation(axes, mean["heads"], (mean.sel(at), error.sel(at)), 0)
        axes.axvline(config.heads_at_peak, **FLOOR)
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="heads $M$ (line: features = examples)",
            ylabel="test error, noise included",
            title=TARGETS[target],
        )
    _style.legend(panels[-1], result["simulation"].sizes["seed"], above=True, point="ridge on heads", ncols=3)
    return figure
