"""Overlap, norm, response, error and training loss of logistic regression against samples per dimension, for two ridges."""

from . import _panels


def draw(result, config):
    curves = [(f"$\\lambda = {ridge:g}$", {"ridge": ridge}) for ridge in config.ridges]
    xlabel = "samples per dimension  $\\alpha = n/d$"
    return _panels.draw(result, config.ratios, xlabel, curves, ("overlap", "norm", "response"))
