"""Errors of quadratic regression against samples: theory for the sphere, points there and for Gaussian inputs."""

from ...sweeps import statistics
from .. import _style


def draw(result, config):
    samples = result["simulation"]["samples"].values
    figure, axes = _style.panels(height=2.8)
    for index, (field, label) in enumerate({"test": "test", "train": "training"}.items()):
        _style.compare(axes, samples, result, field, index, label)
    _style.measured(axes, samples, statistics(result, "gaussian"), 2, "test, Gaussian inputs")
    axes.axhline(config.noise_variance, color="0.6", linewidth=0.7, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="training examples $n$", ylabel="mean square error with noise")
    _style.log_ticks(axes.xaxis, samples)
    _style.legend(axes, result["simulation"].sizes["seed"], "theory, sphere", point="ridge fit", above=True, ncols=2)
    return figure
