"""Steps until online SGD has half of the overlap, against the dimension, for three information exponents."""

from ...sweeps import prediction
from .. import _style


def draw(result, config):
    dims = result["simulation"]["dim"].values
    figure, axes = _style.panels(height=3.4)
    for index, cell in enumerate(_style.cells(result, "exponent")):
        exponent = cell.get("exponent", config.exponent)
        _style.compare(axes, dims, result, "steps", index, f"exponent {exponent}", cell)
        drift = prediction(result, "steps", "prediction_without_noise").sel(cell)
        _style.rival(axes, dims, drift, index)
    _style.rival(axes, [], [], color="0.35", label="drift alone")
    axes.set(xscale="log", yscale="log", xlabel="dimension $d$", ylabel=f"steps until m = {config.end:g}, over d")
    _style.log_ticks(axes.xaxis, dims)
    _style.legend(axes, result["simulation"].sizes["seed"], "mean motion", above=True, ncols=2)
    return figure
