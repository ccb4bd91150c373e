"""Sampled patterns: excess of the value, and the probability that a new pattern helps, beside its prediction."""

from ...sweeps import prediction
from .. import _style
from . import _draws


def draw(result, config):
    line = "indispensable share $E[s]/(N+1)$"
    figure, right = _draws.draw(result, "num_directions", thing="directions", one="pattern", line=line)
    drawn = result["simulation"]["num_directions"].values
    _style.rival(right, drawn, prediction(result, "improving", "prediction_scenario"), 1)
    right.annotate(
        "scenario bound", (drawn[0], 1), xytext=(0, -9), textcoords="offset points", fontsize=7, color=_style.COLOURS[1]
    )
    return figure
