"""Errors of truncated gradients against steps and orders, their rates against the spectral radius, and the gradient itself."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    cells = _style.cells(result, "radius")
    radii = np.array([cell.get("radius", config.radius) for cell in cells])
    steps, orders = (simulated[axis].values for axis in ("step_of_picard", "order"))
    figure, ((unrolled, tanh, neumann), (rates, one_step, gradient)) = _style.panels(columns=3, rows=2, height=2.5)
    for index, (cell, radius) in enumerate(zip(cells, _style.texts(radii), strict=True)):
        label = f"$\\rho$ = {radius}"
        _style.compare(unrolled, steps, result, "unrolled_error", index, label, cell)
        mean_and_error = [values.sel(cell) for values in statistics(result, "unrolled_tanh")]
        _style.rival(tanh, steps, prediction(result, "unrolled_error").sel(cell), index)
        _style.measured(tanh, steps, mean_and_error, index)
        _style.compare(neumann, orders, result, "neumann_error", index, at={**cell, "map": "tanh"})
        _style.compare(
            gradient, np.arange(config.width), result, "implicit", index, at={**cell, "map": "tanh"}, linestyle="", marker="_"
        )
    _style.rival(tanh, [], [], color="0.35", label="affine map with the same Jacobian")
    tanh.legend(loc="upper right")
    for axes, name in ((unrolled, "unrolled affine map"), (tanh, "unrolled tanh layer")):
        axes.set(yscale="log", xlabel="unrolled steps $K$", ylabel="relative error", title=name, ylim=(1e-12, 30))
    neumann.set(
        yscale="log", xlabel="order $m$ of the Neumann series", ylabel="relative error", title="tanh layer", ylim=(1e-14, 30)
    )
    look = {"unrolled_rate": "of error/$K$, unrolled", "neumann_rate": "of error, Neumann"}
    for index, (field, label) in enumerate(look.items()):
        here = {"map": "tanh"}
        _over(rates, radii, result, field, index, label, here)
    rates.set(xlabel="spectral radius $\\rho$", ylabel="factor per step", title="tanh layer")
    _over(one_step, radii, result, "one_step_error", 0, "relative error", {"map": "tanh"})
    _over(one_step, radii, result, "one_step_cosine", 1, "cosine", {"map": "tanh"})
    one_step.set(xlabel="spectral radius $\\rho$", ylabel="of the one-step gradient", title="tanh layer", ylim=(0, 1.35))
    for axes in (rates, one_step):
        axes.legend(loc="upper left", ncols=1 if axes is rates else 2)
    gradient.set(xlabel="unit", ylabel="implicit gradient in its bias", title="tanh layer, mean of draws")
    _style.legend(unrolled, simulated.sizes["seed"], "exact or limit", above=True, point="gradients", ncols=4)
    return figure


def _over(axes, radii, result, field, index, label, at):
    """A field against the radius; one point where it was not swept."""
    shade = _style.tint(index, 2)
    if len(radii) == 1:
        mean, error = (np.atleast_1d(values.sel(at)) for values in statistics(result, field))
        _style.theory(axes, radii, np.atleast_1d(prediction(result, field).sel(at)), index, label, color=shade, marker="_")
        _style.simulation(axes, radii, (mean, error), index, color=shade)
    else:
        _style.compare(axes, radii, result, field, index, label, at, shade)
