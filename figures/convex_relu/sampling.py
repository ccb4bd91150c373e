"""Sampled patterns: excess of the value, and the probability that a new pattern helps, beside its prediction."""

from ...sweeps import prediction, statistics
from .. import _style


def draw(result):
    simulated = result["simulation"]
    drawn = simulated["num_directions"].values
    seeds = simulated.sizes["seed"]
    figure, (left, right) = _style.panels(columns=2)
    for seed in range(seeds):
        left.plot(drawn, simulated["excess"].isel(seed=seed), color="0.8", linewidth=0.4, zorder=1)
    _style.simulation(left, drawn, statistics(result, "excess"))
    left.set(yscale="log", ylim=(1e-5, None), ylabel="value / optimum $-$ 1")
    left.set_title(f"sampled patterns, {seeds} draws")
    _style.theory(right, drawn, prediction(result, "improving"))
    _style.simulation(right, drawn, statistics(result, "improving"))
    _style.theory(right, drawn, prediction(result, "improving", "prediction_scenario"), 1, "scenario bound", linestyle=":")
    right.set(yscale="log", ylabel="P(a new pattern helps)")
    _style.legend(right, seeds, "indispensable share $E[s]/(N+1)$", point="fresh directions")
    _style.theory(left, drawn, prediction(result, "undercut"), 1)
    _style.simulation(left, drawn, statistics(result, "undercut"), 1)
    for axes in (left, right):
        axes.set(xscale="log", xlabel="directions drawn $N$")
        axes.set_xticks(drawn, [str(number) for number in drawn])
        axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    return figure
