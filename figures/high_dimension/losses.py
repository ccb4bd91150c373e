"""Error, overlap, norm, response and training loss of several convex losses against the ridge."""

import numpy as np

from . import _panels


def draw(result, config):
    curves = [(loss, {"loss": loss}) for loss in np.asarray(result["simulation"]["loss"]).tolist()]
    return _panels.draw(result, config.ridges, "ridge  $\\lambda$", curves, ("training_loss", "overlap", "norm", "response"))
