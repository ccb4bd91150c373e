"""Double descent in heads: predicted curves through the ridge fits, with the plateau of infinitely many heads."""

from . import _panels


def draw(result, config):
    return _panels.over_heads(result, config, "prediction_infinite", "infinitely many heads")
