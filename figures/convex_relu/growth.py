"""Growing the patterns: objective and bound by rounds, and where sixteen runs of Adam end."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    seeds = simulated.sizes["seed"]
    objective, bound = (simulated[name].values[0] for name in ("round_objective", "round_bound"))
    last = int(np.argmax(objective == objective[-1])) + 1
    last = max(last, int(np.argmax(bound == bound[-1])) + 1)
    rounds = simulated["round"].values[:last]
    figure, (left, right, last_panel) = _style.panels(columns=3)
    final = float(prediction(result, "objective"))
    left.plot(rounds, objective[:last], "o", color=_style.COLOURS[0], markersize=3, label="network of the convex program")
    left.plot(rounds, bound[:last], "s", color=_style.COLOURS[1], markersize=3, label="bound of the dual, by search")
    left.plot([last], [final], "k_", label="best bound")
    left.set(xlabel="round", ylabel="objective / zero network's", xticks=rounds)
    left.set_title(f"n = {config.num_samples}, d = {config.dim}: gap {(objective[-1] - bound[-1]) / objective[-1]:.0e}")
    left.legend()
    excess = np.sort(simulated["trained"].values) / final - 1
    right.plot(np.arange(1, seeds + 1), excess, "o", color=_style.COLOURS[2], markersize=3, label=f"Adam, width {config.width}")
    mean, _ = (float(value) for value in statistics(result, "objective"))
    _style.rival(right, [1, seeds], 2 * [mean / final - 1], 0, "network of the convex program")
    right.set(yscale="log", ylim=(1e-7, None), xlabel="seed, sorted", ylabel="objective / bound $-$ 1")
    right.legend()
    last_panel.plot([0, 1], [float(prediction(result, "undercut")), final], "_", color="0.35", markersize=14, label="theory")
    ends = [statistics(result, field) for field in ("undercut", "objective")]
    last_panel.errorbar(
        [0, 1],
        [float(mean) for mean, _ in ends],
        yerr=[float(error) for _, error in ends],
        fmt="o",
        color=_style.COLOURS[0],
        markerfacecolor="white",
        label=f"mean over {seeds} seeds ± SE",
    )
    last_panel.set_xticks([0, 1], ["Adam below\nthe program", "objective of\nthe program"])
    last_panel.set(xlim=(-0.5, 1.5), ylabel="unit: the zero network")
    last_panel.legend()
    return figure
