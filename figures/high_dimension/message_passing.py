"""Overlap, norm and response at every iteration of message passing, for logistic regression and for the posterior mean."""

from ...sweeps import statistics
from .. import _style

WORDS = {"overlap": "overlap $m$", "norm": "norm $q$", "response": "response $V$"}


def draw(result, config):
    iterations = result["simulation"]["iteration"].values
    figure, panels = _style.panels(columns=3, height=2.5)
    for panel, (field, words) in zip(panels, WORDS.items(), strict=True):
        for index, algorithm in enumerate(result["simulation"]["algorithm"].values.tolist()):
            label = {"logistic": "logistic regression", "Bayes": "posterior mean"}[algorithm]
            _style.compare(panel, iterations, result, field, index, label, {"algorithm": algorithm})
        panel.set(xlabel="iteration", ylabel=words)
    _style.measured(panels[0], iterations, statistics(result, "without_onsager"), 3, "logistic, without Onsager's term")
    _style.legend(panels[0], result["simulation"].sizes["seed"], above=True, point="message passing", ncols=6)
    return figure
