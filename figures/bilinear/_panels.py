"""What the figures of this paper share."""

import numpy as np
from matplotlib.lines import Line2D

from ...sweeps import prediction, statistics
from .. import _style


def modes(axes, result, time, spectrum):
    """Every learned eigenvalue against time, with its target as a thin line."""
    for index, value in enumerate(spectrum):
        axes.axhline(value, color="0.8", linewidth=0.6, zorder=0)
        _style.compare(axes, time, result, "learned", index, at={"mode": index})
    axes.set(xlabel="time, learning rate x steps", ylabel="learned eigenvalues (thin: target)")


def animated(result, config):
    """Learned eigenvalues against those of the target at every recorded step: on the diagonal all is learned."""
    figure, axes = _style.panels(height=2.8)
    mean, error = statistics(result, "learned")
    predicted, target = prediction(result, "learned"), np.asarray(config.spectrum)
    ends = [1.15 * target.min(), 1.15 * target.max()]
    low, high = 1.15 * min(float(mean.min()), ends[0]), 1.15 * max(float(mean.max()), ends[1])
    handles = [
        Line2D([], [], color=_style.COLOURS[0], linestyle="", marker="_", markersize=10, label="theory"),
        Line2D([], [], color=_style.COLOURS[0], linestyle="", marker="o", markersize=3.2, mfc="white", label="networks ± SE"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)

    def show(place):
        axes.clear()
        axes.plot(ends, ends, color="0.8", linewidth=0.7, zorder=0)
        axes.plot(target, predicted[place], color=_style.COLOURS[0], linestyle="", marker="_", markersize=12)
        _style.simulation(axes, target, (mean[place], error[place]))
        axes.set(xlim=ends, ylim=(low, high), xlabel="eigenvalue of the target", ylabel="learned eigenvalue")
        axes.set_title(f"time {config.learning_rate * float(mean['step'][place]):.2f}")

    return figure, range(mean.sizes["step"]), show


def tiles(images):
    """Images (..., pixel), each on its own scale, in rows of those of the last axis but one."""
    images = np.asarray(images)
    images = images / np.maximum(np.abs(images).max(axis=-1, keepdims=True), 1e-30)
    rows = images.reshape(-1, *images.shape[-2:])
    side = round(images.shape[-1] ** 0.5)
    return np.concatenate([np.concatenate(list(row.reshape(len(row), side, -1)), axis=1) for row in rows])
