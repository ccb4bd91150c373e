"""Error and training loss against the share of outliers for each loss, and the error of the Huber loss against its bend."""

import numpy as np

from .. import _style


def draw(result, config):
    shares, deltas = np.array(config.shares), np.array(config.deltas)
    figure, ((errors, losses), (bends, spare)) = _style.panels(columns=2, rows=2, height=2.4)
    curves = [("square", "_square", {}), *((f"Huber, $\\delta$ = {delta:g}", "", {"delta": delta}) for delta in deltas)]
    for index, (name, field, place) in enumerate([*curves, ("absolute", "_absolute", {})]):
        _style.compare(errors, shares, result, f"mse{field}", index, name, place)
        _style.compare(losses, shares, result, f"training_loss{field}", index, None, place)
    for index, share in enumerate(shares):
        _style.compare(bends, deltas, result, "mse", index, f"{share:g}", {"share": share})
    errors.set(ylabel="squared error on fresh inputs")
    losses.set(ylabel="training loss")
    bends.set(xscale="log", xlabel="bend of the Huber loss  $\\delta$", ylabel="its squared error")
    _style.log_ticks(bends.xaxis, deltas)
    for axes in (errors, losses):
        axes.set(xlabel="share of outliers  $\\epsilon$")
    for axes in (errors, losses, bends):
        axes.set_yscale("log")
        _style.log_ticks(axes.yaxis, [tick for tick in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0) if tick > axes.get_ylim()[0]])
    spare.set_axis_off()
    spare.legend(*bends.get_legend_handles_labels(), title="share of outliers", loc="center left")
    _style.legend(errors, result["simulation"].sizes["seed"], above=True, point="fits", ncols=2)
    return figure
