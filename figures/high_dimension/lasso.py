"""Error, support and size of the LASSO and the elastic net against the penalty: theory over fits of sparse weights."""

import numpy as np

from .. import _style

_PANELS = (
    ("mse", "error $|w - \\theta|^2/d$"),
    ("training_error", "mean squared residual"),
    ("overlap", "overlap $\\langle \\theta, w \\rangle/d$"),
    ("norm", "size $|w|^2/d$"),
    ("active", "weights that are not 0"),
)


def draw(result, config):
    figure, axes = _style.panels(columns=3, rows=2, height=2.2)
    penalties = np.array(config.l1_penalties)
    *panels, rates = axes.ravel()
    for panel, (field, label) in zip(panels, _PANELS, strict=True):
        for index, cell in enumerate(_style.cells(result, "l2_penalty")):
            ridge = next(iter(cell.values()), config.l2_penalty)
            _style.compare(panel, penalties, result, field, index, f"$\\lambda_2$ = {ridge:g}", at=cell)
        panel.set_ylabel(label)
    first = _style.cells(result, "l2_penalty")[0]
    for index, (field, label) in enumerate((("power", "of those in $\\theta$"), ("false_positives", "of all others")), 2):
        _style.compare(rates, penalties, result, field, index, label, at=first)
    rates.set_ylabel(f"share kept, $\\lambda_2$ = {next(iter(first.values()), config.l2_penalty):g}")
    rates.legend()
    for panel in axes.ravel():
        panel.set(xscale="log", xlabel="penalty $\\lambda_1$")
        _style.log_ticks(panel.xaxis, penalties)
    _style.legend(panels[0], result["simulation"].sizes["seed"], above=True, point="fits", ncols=4)
    return figure
