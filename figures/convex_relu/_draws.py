"""Two panels against the number of things drawn: the excess of the value, and how often one more would help."""

from ...sweeps import statistics
from .. import _style


def draw(result, axis, *, thing, one, line):
    """The figure and its right panel; `axis` is the swept number, `line` says what predicts the probability."""
    simulated = result["simulation"]
    drawn = simulated[axis].values
    seeds = simulated.sizes["seed"]
    figure, (left, right) = _style.panels(columns=2)
    for seed in range(seeds):
        left.plot(drawn, simulated["excess"].isel(seed=seed), ".", color="0.8", markersize=2, zorder=1)
    _style.simulation(left, drawn, statistics(result, "excess"))
    _style.compare(left, drawn, result, "undercut", 1)
    positive = simulated["excess"].values[simulated["excess"].values > 0]
    left.set(yscale="log", ylim=(0.5 * positive.min(), 2 * positive.max()), ylabel="objective / optimum $-$ 1")
    left.set_title(f"{thing} drawn, mean and every one of {seeds}")
    _style.compare(right, drawn, result, "improving")
    right.set(yscale="log", ylim=(None, 1.3), ylabel=f"P(a new {one} helps)")
    for axes in (left, right):
        axes.set(xscale="log", xlabel=f"{thing} drawn $N$")
        _style.log_ticks(axes.xaxis, drawn)
    _style.legend(right, seeds, line, point="fresh ones")
    return figure, right
