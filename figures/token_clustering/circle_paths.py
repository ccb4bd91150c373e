"""Displacements of one seed while they are small and the amplitudes of their waves, theory and tokens, and all paths."""

import numpy as np

from .. import _style


def draw(result, config):
    predicted, simulated = (values["displacement"] for values in _one_seed(result))
    angles = _one_seed(result)[1]["angle"]
    figure, (left, middle, right) = _style.panels(columns=3)
    tokens = 1 + np.arange(config.num_tokens)
    times = angles["record"].values
    shown = np.unique(np.linspace(0, predicted.sizes["early"] - 1, min(3, predicted.sizes["early"])).astype(int))
    for index, place in enumerate(shown):
        label = f"time {_style.texts(predicted['early'].values)[place]}"
        _style.theory(left, tokens, predicted[place], label=label, color="0.35", alpha=0.4 + 0.3 * index)
        left.plot(tokens, simulated[place], _style.MARKERS[index], color="0.35", markersize=2.6, mfc="white")
        left.lines[-1].set_markeredgewidth(0.5)
    for index, mode in enumerate(result["simulation"]["mode"].values[: len(_style.COLOURS)]):
        at = {"mode": mode}
        _style.compare(
            middle, predicted["early"].values, result, "amplitude", index, f"{mode} periods" if index else "1 period", at
        )
    middle.set(xlabel="time", ylabel="amplitude of the wave", yscale="log")
    middle.set_ylim(top=5 * middle.get_ylim()[1])
    _style.legend(middle, result["simulation"].sizes["seed"], None, point="tokens", fontsize=6, ncols=2)
    for token in range(config.num_tokens):
        right.plot(times, angles[:, token] / (2 * np.pi), color="0.35", linewidth=0.4, alpha=0.6, zorder=1)
    right.axvline(config.linear_time, color="0.6", linewidth=0.7, zorder=0)
    left.set(xlabel="token", ylabel=f"displacement over {config.noise_std:g}")
    right.set(xlabel="time (grey line: judged up to here)", ylabel="angle of each token, turns")
    right.set_title(f"$\\beta$ = {config.beta:g}, simulated")
    _style.legend(left, None, "sum of waves", above=True, point="tokens of one seed", ncols=5)
    return figure


def animate(result, config):
    """The tokens on the circle at every record: dots are simulated, rings predicted while displacements are small."""
    predicted, simulated = _one_seed(result)
    angles, early = simulated["angle"], predicted["early"].values
    even = 2 * np.pi * np.arange(config.num_tokens) / config.num_tokens
    figure, axes = _style.panels(height=_style.COLUMN)

    def show(place):
        axes.clear()
        time = float(angles["record"][place])
        axes.plot(*_circle(np.linspace(0, 2 * np.pi, 200)), color="0.8", linewidth=0.6, zorder=0)
        if time in early:
            there = even + config.noise_std * predicted["displacement"].sel(early=time).values
            axes.scatter(*_circle(there), s=26, facecolors="none", edgecolors=_style.colour(0), linewidths=0.6)
        axes.scatter(*_circle(angles[place].values), s=6, color=_style.colour(0), linewidths=0)
        axes.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal", xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_title(f"time {time:.1f}, {'theory (rings), ' if time in early else ''}tokens (dots)")

    return figure, range(angles.sizes["record"]), show


def _circle(angles):
    return np.cos(angles), np.sin(angles)


def _one_seed(result):
    """Prediction and simulation of the first seed that did not diverge."""
    seed = int(np.flatnonzero(~result["simulation"]["diverged"].values)[0])
    return [result[side].to_dataset().isel(seed=seed) for side in ("prediction", "simulation")]
