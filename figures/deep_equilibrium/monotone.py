"""Factors of both splittings against their step, rates of ReLU networks, and what converges, for several monotonicities."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

SWEPT = "model.monotonicity"
SOLVERS = {"picard": "Picard", "forward_backward": "forward-backward", "peaceman_rachford": "Peaceman-Rachford"}


def draw(result, config):
    simulation, cells = result["simulation"], _style.cells(result, SWEPT)
    values = [cell.get(SWEPT, config.model.monotonicity) for cell in cells]
    figure, ((forward, reflected), (rates, shares)) = _style.panels(columns=2, rows=2)
    for index, cell in enumerate(cells):
        shade, label = _style.tint(index, len(cells)), f"$m$ = {_style.texts(values)[index]}"
        _style.compare(forward, config.forward_sizes, result, "forward", index, label, cell, shade)
        _style.compare(reflected, config.reflected_sizes, result, "reflected", index, None, cell, shade)
    for axes in (forward, reflected):
        axes.axhline(1, color="0.8", linewidth=0.6, zorder=0)
    forward.set(xlabel="step $\\alpha$ in units of $m/L^2$", ylabel="error per step", title="forward-backward")
    reflected.set(xlabel="step $\\alpha$ in units of $1/L$", ylabel="error per step", title="Peaceman-Rachford", xscale="log")
    _style.log_ticks(reflected.xaxis, config.reflected_sizes)

    def of(field, at=None):
        """Mean and standard error at each monotonicity."""
        return tuple(np.array([float(one.sel({**cell, **(at or {})})) for cell in cells]) for one in statistics(result, field))

    def theory(field):
        return [float(prediction(result, field).sel(cell)) for cell in cells]

    for index, field in enumerate(("forward_rate", "reflected_rate"), start=1):
        solver = tuple(SOLVERS.values())[index]
        _style.theory(rates, values, theory(field), index, solver)
        _style.simulation(rates, values, of(field), index)
    _style.rival(rates, values, of("bound")[0], 1, "bound for any step")
    _style.measured(rates, values, of("slowest"), 1, "slowest step seen", filled=True)
    rates.set(xlabel="monotonicity $m$", ylabel="error per step (ReLU)", ylim=(0, 1.05))
    rates.legend(fontsize=6)

    for index, (solver, name) in enumerate(SOLVERS.items()):
        beside = np.array(values) + 0.02 * (index - 1)
        _style.measured(shares, beside, of("converged", {"solver": solver}), index, f"{name} converges", filled=True)
    _style.theory(shares, values, theory("kept"), 3, "steps within the bound")
    _style.simulation(shares, values, of("kept"), 3)
    norm = ", ".join(f"{one:.1f}" for one in of("norm")[0])
    shares.set(xlabel="monotonicity $m$", ylabel="share", ylim=(-0.05, 1.1), title=f"$|W|_2$ = {norm}")
    shares.legend(fontsize=6, loc=(0.3, 0.5))
    _style.legend(forward, simulation.sizes["seed"], above=True, point="networks", ncols=4)
    return figure
