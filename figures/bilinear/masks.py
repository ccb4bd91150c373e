"""Masks read off the weights, what they do to logits, accuracy and labels, and the same with permuted pixels."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels

KINDS = ("mask", "pixels permuted")


def draw(result, config):
    strengths = config.strengths
    figure, ((shown, shift), (accuracy, misled)) = _style.panels(columns=2, rows=2)
    masks = np.asarray(result["simulation"]["mask"].isel(seed=0))
    half = (len(masks) + 1) // 2
    rows = [masks[:half], np.concatenate([masks[half:], np.zeros((2 * half - len(masks), masks.shape[1]))])]
    _style.signed_image(shown, _panels.tiles(np.stack(rows)), "first mask of every digit, one seed")
    for index, kind in enumerate(KINDS):
        at = {"kind": index}
        for axes, field in ((shift, "shift"), (accuracy, "accuracy"), (misled, "misled")):
            mean, error = (part.isel(at) for part in statistics(result, field))
            if field == "shift":
                _style.theory(axes, strengths, prediction(result, field).isel(at), index, kind)
                _style.simulation(axes, strengths, (mean, error), index)
            else:
                _panels.measured(axes, strengths, (mean, error), index)
    shift.set_ylabel("mean change of the logit")
    accuracy.set(ylabel="accuracy on images of other digits", ylim=(0, 1))
    misled.set_ylabel("share taken for the mask's digit")
    for axes in (shift, accuracy, misled):
        axes.set_xlabel("standard deviation of the mask")
    _style.legend(shift, result["simulation"].sizes["seed"], "from the weights", point="networks")
    return figure
