"""Augmented heads: the grouped theory through the ridge fits, and the rule that takes all features as independent below."""

from . import _panels


def draw(result, config):
    return _panels.over_heads(result, config, "prediction_naive", "features independent")
