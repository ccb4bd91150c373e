"""Error, and overlaps with the teacher and with itself, of a committee trained by online SGD: exact equations over runs."""

import numpy as np

from ...sweeps import prediction
from .. import _style


def draw(result, config):
    samples = result["simulation"]["step"].values / config.dim
    figure, (errors, crosses, students) = _style.panels(columns=3, height=2.6)
    cells = _style.cells(result, "learning_rate")
    for index, cell in enumerate(cells):
        rate = cell.get("learning_rate", config.learning_rate)
        _style.compare(errors, samples, result, "error", index, f"$\\eta$ = {rate:g}", cell)
        still = prediction(result, "error", "prediction_plateau").sel(cell)
        _style.rival(errors, samples, still, index)
    _style.rival(errors, [], [], color="0.35", label="plateau")
    errors.set(yscale="log", xlabel="samples / dimension", ylabel="error $E$")
    last, count = cells[-1], len(config.lengths)
    pairs = [(i, j) for i in range(min(count, 2)) for j in range(min(count, 2))]
    for index, (i, j) in enumerate(pairs):
        at = {**last, "unit": i, "teacher": j}
        _style.compare(crosses, samples, result, "cross", index, f"$R_{{{i + 1}{j + 1}}}$", at)
    for index, (i, j) in enumerate((i, j) for i, j in pairs if i <= j):
        at = {**last, "unit": i, "other": j}
        _style.compare(students, samples, result, "student", index, f"$Q_{{{i + 1}{j + 1}}}$", at)
    rate = last.get("learning_rate", config.learning_rate)
    crosses.set(xlabel="samples / dimension", ylabel="overlaps with the teacher $R$", title=f"$\\eta$ = {rate:g}")
    students.set(xlabel="samples / dimension", ylabel="overlaps of the student $Q$", title=f"$\\eta$ = {rate:g}")
    for axes in (crosses, students):
        axes.set_ylim(-0.1, 1.1 * float(np.nanmax(prediction(result, "cross").values)) + 0.05)
        axes.legend(ncols=2)
    _style.legend(errors, result["simulation"].sizes["seed"], "exact", above=True, ncols=4)
    return figure
