"""Accuracy, evaluations forward and backward, condition number and residual for every solver and start of the iteration."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

SOLVER = "solver"
NAMES = {"picard": "Picard", "anderson": "Anderson", "continuous": "flow to rest", "neural_ode": "neural ODE"}
STARTS = {"zero": "0", "skip": "skip", "skip_reg": "skip reg."}


def draw(result, config):
    solvers, starts = _style.cells(result, SOLVER), result["simulation"]["start"].values.tolist()
    figure, panels = _style.panels(columns=3, rows=2)
    (predicted, accuracy, evaluations), (backward, condition, residual) = panels
    places = np.arange(len(starts))
    dash = {"linestyle": "", "marker": "_", "markersize": 9, "markeredgewidth": 1.2}
    for index, solver in enumerate(solvers):
        shifted = places + 0.16 * (index - (len(solvers) - 1) / 2)
        name = NAMES[solver.get(SOLVER, config.solver)]

        def of(field, solver=solver):
            """Mean and standard error for each start."""
            return tuple(np.atleast_1d(values.sel(solver)) for values in statistics(result, field))

        for axes, field, label in ((predicted, "picard_evaluations", name), (accuracy, "untrained", None)):
            values = np.atleast_1d(prediction(result, field).sel(solver))
            _style.theory(axes, shifted, values, index, label, **dash)
            _style.simulation(axes, shifted, of(field), index)
        _style.measured(accuracy, shifted, of("accuracy"), index)
        _style.measured(evaluations, shifted, of("num_evaluations"), index, filled=True)
        _style.measured(backward, shifted, of("backward_evaluations"), index, filled=True)
        _style.measured(condition, shifted, of("condition"), index, filled=True)
        _style.measured(condition, shifted, of("untrained_condition"), index)
        _style.measured(residual, shifted, of("residual"), index, filled=True)
    for axes in panels.flat:
        axes.set_xticks(places, [STARTS[start] for start in starts])
        axes.set_xlim(-0.5, len(starts) - 0.5)
    for axes in (evaluations, condition, residual):
        axes.set_yscale("log")
    _style.decades(evaluations, condition)
    predicted.set(ylabel="evaluations of Picard (dash: theory)", ylim=(0, None))
    accuracy.set(ylabel="test accuracy (below: untrained)", ylim=(0, 1.05))
    evaluations.set(ylabel="evaluations of the layer")
    backward.set(ylabel="backward products with $J^\\top$", ylim=(0, None))
    condition.set(ylabel="condition of $I - J$ (open: untrained)")
    residual.set(ylabel="residual $|f(z) - z|_\\infty$")
    for axes in panels[1]:
        axes.set_xlabel("start of the iteration")
    _style.legend(predicted, result["simulation"].sizes["seed"], None, above=True, point="trained networks", ncols=7)
    return figure
