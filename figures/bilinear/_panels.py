"""What the figures of this paper share."""

import numpy as np

from .. import _style


def modes(axes, result, time, spectrum):
    """Every learned eigenvalue against time, with its target as a thin line."""
    for index, value in enumerate(spectrum):
        axes.axhline(value, color="0.8", linewidth=0.6, zorder=0)
        _style.compare(axes, time, result, "learned", index, at={"mode": index})
    axes.set(xlabel="time, learning rate x steps", ylabel="learned eigenvalues (thin: target)")


def tiles(images):
    """Images (..., pixel), each on its own scale, in rows of those of the last axis but one."""
    images = np.asarray(images)
    images = images / np.maximum(np.abs(images).max(axis=-1, keepdims=True), 1e-30)
    rows = images.reshape(-1, *images.shape[-2:])
    side = round(images.shape[-1] ** 0.5)
    return np.concatenate([np.concatenate(list(row.reshape(len(row), side, -1)), axis=1) for row in rows])


def measured(axes, x, statistics, index, label=None, **options):
    """Points that nothing predicts, joined by a thin line."""
    mean, error = (np.asarray(part) for part in statistics)
    axes.plot(x, mean, color=_style.COLOURS[index % len(_style.COLOURS)], linewidth=0.6, label=label, **options)
    _style.simulation(axes, x, (mean, error), index)
