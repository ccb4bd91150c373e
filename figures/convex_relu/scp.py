"""The Lasso over sampled neurons: its value against the optimum, and the probability that a new neuron helps."""

from ...sweeps import prediction, statistics
from .. import _style


def draw(result):
    simulated = result["simulation"]
    drawn = simulated["num_neurons"].values
    seeds = simulated.sizes["seed"]
    figure, (left, right) = _style.panels(columns=2)
    for seed in range(seeds):
        left.plot(drawn, simulated["excess"].isel(seed=seed), color="0.8", linewidth=0.4, zorder=1)
    _style.simulation(left, drawn, statistics(result, "excess"))
    left.set(yscale="log", ylabel="objective / optimum $-$ 1")
    left.set_title(f"Lasso over sampled neurons, {seeds} draws")
    _style.theory(right, drawn, prediction(result, "improving"))
    _style.simulation(right, drawn, statistics(result, "improving"))
    right.set(yscale="log", ylabel="P(a new neuron helps)")
    _style.legend(right, seeds, "share in use $E[s]/(N+1)$", point="fresh directions")
    _style.theory(left, drawn, prediction(result, "undercut"), 1)
    _style.simulation(left, drawn, statistics(result, "undercut"), 1)
    for axes in (left, right):
        axes.set(xscale="log", xlabel="neurons drawn $N$")
        axes.set_xticks(drawn, [str(number) for number in drawn])
        axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    return figure
