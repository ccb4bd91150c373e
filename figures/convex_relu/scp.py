"""The Lasso over sampled neurons: its value against the optimum, and the probability that a new neuron helps."""

from . import _draws


def draw(result, config):
    figure, _ = _draws.draw(result, "num_directions", thing="neurons", one="neuron", line="share in use $E[s]/(N+1)$")
    return figure
