"""Masks read off the weights, what they do to logits, accuracy and labels, and the same with permuted pixels."""

import numpy as np

from ...sweeps import statistics
from .. import _style
from . import _panels


def draw(result, config):
    simulated = result["simulation"]
    strengths = simulated["strength"].values
    figure, ((shown, shift), (accuracy, misled)) = _style.panels(columns=2, rows=2)
    masks = np.asarray(simulated["mask"].isel(seed=0))
    half = (len(masks) + 1) // 2
    rows = [masks[:half], np.concatenate([masks[half:], np.zeros((2 * half - len(masks), masks.shape[1]))])]
    _style.signed_image(shown, _panels.tiles(np.stack(rows)), "first mask of every digit, one seed")
    for index, kind in enumerate(simulated["kind"].values):
        _style.compare(shift, strengths, result, "shift", index, kind, at={"kind": kind})
        for axes, field in ((accuracy, "accuracy"), (misled, "misled")):
            _style.measured(axes, strengths, [part.sel(kind=kind) for part in statistics(result, field)], index)
    shift.set_ylabel("mean change of the logit")
    accuracy.set(ylabel="accuracy on images of other digits", ylim=(0, 1))
    misled.set_ylabel("share taken for the mask's digit")
    for axes in (shift, accuracy, misled):
        axes.set_xlabel("standard deviation of the mask")
    _style.legend(shift, simulated.sizes["seed"], "from the weights", point="networks")
    return figure
